// Which batch size to take: the formulas of course_lib/planner.py, where their sources are named.
// tests/test_planner_page.py compares the two.

const NORMAL = 1.959963984540054; // the quantile of two-sided intervals of 95 %
const LARGEST = 3.4028234663852886e38; // that a tensor can hold

// What is wrong, with the name of the field that it is wrong in.
class Contradiction extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function refuseUnless(right, field, message) {
  if (!right) throw new Contradiction(field, message);
}

function positive(field, value) {
  const fits = typeof value === "number" && value > 0 && value <= LARGEST;
  refuseUnless(fits, field, "Give a number above 0, such as 1437 or 0.02, without a comma.");
  return value;
}

function whole(field, value) {
  const fits = Number.isInteger(value) && value >= 1;
  refuseUnless(fits, field, "Give a whole number from 1 on.");
  return value;
}

function within(field, value, most = 1e9, message = `Give a number from 0 to ${most}.`) {
  const fits = typeof value === "number" && value >= 0 && value <= most;
  refuseUnless(fits, field, message);
  return value;
}

const share = (value) => within("relative_error", value, 1, "Give a percentage from 0 to 100.");

function pairOf(field, values, ascending = false) {
  refuseUnless(Array.isArray(values) && values.length === 2, field, "Give two numbers.");
  const [one, two] = values.map((value) => positive(field, value));
  refuseUnless(!ascending || one < two, field, "The second batch size must be the larger one.");
  return [one, two];
}

const times = (ratio) => `${Number(ratio.toPrecision(4))} times`;

function updatesLaw([small, big], [many, few]) {
  refuseUnless(
    few < many,
    "updates",
    "The larger batch must take fewer updates, and here it takes as many or more. Either the rates " +
      "are not tuned for each size, or chance decides (repeat the runs), or both sizes are past all gain.",
  );
  refuseUnless(
    small / big < few / many,
    "updates",
    `A batch ${times(big / small)} as large can take at most ${times(big / small)} fewer updates, and here it ` +
      "saves that or more. Tune both rates, repeat the runs, or take a much larger second size.",
  );
  const fewest = (big * few - small * many) / (big - small);
  return [fewest, (small * big * (many - few)) / (big - small) / fewest];
}

function criticalInterval([small, big], ratio, error, quantile = NORMAL) {
  const low = Math.max(1, ratio * Math.exp(-quantile * error));
  const high = ratio * Math.exp(quantile * error);
  const end = small * high < big ? (small * big * (high - 1)) / (big - small * high) : Infinity;
  return [(small * big * (low - 1)) / (big - small * low), end];
}

function updatesAt(size, sizes, updates, errors) {
  const weight = (1 / size - 1 / sizes[1]) / (1 / sizes[0] - 1 / sizes[1]);
  const mean = weight * updates[0] + (1 - weight) * updates[1];
  return [mean, Math.hypot(weight * errors[0], (1 - weight) * errors[1])];
}

function stepTime(sizes, seconds) {
  const [small, big] = pairOf("timed_sizes", sizes, true);
  const [first, second] = pairOf("seconds", seconds);
  refuseUnless(
    second > first,
    "seconds",
    "The larger batch must take longer. Take the least of many timings, or sizes further apart.",
  );
  refuseUnless(
    big * first >= small * second,
    "seconds",
    `With ${times(big / small)} the samples, an update can take at most ${times(big / small)} as long. ` +
      "Take the least of many timings: something else may have slowed the larger one.",
  );
  return [(big * first - small * second) / (big - small), (second - first) / (big - small)];
}

function fastestSize(critical, overhead, perSample, devices = 1) {
  return Math.sqrt(((critical / devices) * overhead) / perSample);
}

function scaledRate(lr, size, other, critical, power) {
  return lr * ((1 + critical / size) / (1 + critical / other)) ** power;
}

// Mean and standard deviation; differences from the first, so that equal runs have none.
function moments(values) {
  const from = values[0];
  const mean = from + values.reduce((sum, value) => sum + (value - from), 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, Math.sqrt(squares / (values.length - 1))];
}

function meansAndErrors(updates, relativeError) {
  if (!Array.isArray(updates) || !updates.some(Array.isArray)) {
    const error = share(relativeError);
    const means = pairOf("updates", updates);
    return [means, means.map((mean) => error * mean), NORMAL];
  }
  const complete = updates.length === 2 && updates.every((runs) => Array.isArray(runs) && runs.length >= 3);
  refuseUnless(complete, "updates", "Give one number for each size (1437, not 1,437), or three repeats or more for each.");
  const statistics = updates.map((runs) => moments(runs.map((each) => positive("updates", each))));
  const means = statistics.map(([mean]) => mean);
  const errors = statistics.map(([, deviation], i) => deviation / Math.sqrt(updates[i].length));
  const [one, two] = errors.map((error, i) => (error / means[i]) ** 2);
  if (one + two === 0) return [means, errors, NORMAL];
  const [first, second] = updates.map((runs) => runs.length - 1);
  const n = (one + two) ** 2 / (one ** 2 / first + two ** 2 / second);
  const normal = (NORMAL * (8 * n + 3)) / (8 * n + 1);
  return [means, errors, Math.sqrt(n * Math.expm1(normal ** 2 / n))];
}

function lawOfRuns(given) {
  const [means, errors, quantile] = meansAndErrors(given.updates, given.relative_error);
  const sizes = pairOf("sizes", given.sizes, true);
  const [fewest, critical] = updatesLaw(sizes, means);
  const relative = Math.hypot(errors[0] / means[0], errors[1] / means[1]);
  const interval = criticalInterval(sizes, means[0] / means[1], relative, quantile);
  const at = (size) => updatesAt(size, sizes, means, errors);
  return { fewest, critical, interval, size: sizes[0], at, quantile };
}

function lawOfNoise(given) {
  const size = positive("sizes", given.sizes);
  const critical = positive("noise_scale", given.noise_scale);
  const relative = share(given.relative_error);
  const fewest = positive("updates", given.updates) / (1 + critical / size);
  const interval = [critical * Math.exp(-NORMAL * relative), critical * Math.exp(NORMAL * relative)];
  const at = (other) => {
    const power = critical / (critical + other) - critical / (critical + size);
    const needed = fewest * (1 + critical / other);
    return [needed, needed * relative * Math.hypot(1, power)];
  };
  return { fewest, critical, interval, size, at, quantile: NORMAL };
}

// The plan for what is given, under the names of course_lib.planner.plan.
function plan(given) {
  const law = given.noise_scale == null ? lawOfRuns(given) : lawOfNoise(given);
  const { fewest, critical } = law;
  const [overhead, perSample] = stepTime(given.timed_sizes, given.seconds);
  const most = given.largest == null ? Infinity : whole("largest", given.largest);
  const devices = whole("devices", given.devices ?? 1);
  const lr = positive("lr", given.lr);
  const exchange = within("exchange", given.exchange ?? 0);
  const price = within("price", given.price ?? 0);
  const beta2 = within("beta2", given.beta2 ?? 0.999, 1);
  const power = within("power", given.power ?? 1, 1);

  const hoursAt = (size, count) => {
    const seconds = overhead + exchange * (count > 1) + perSample * size;
    return (law.at(count * size)[0] * seconds) / 3600;
  };

  const choice = (best, count) => {
    const below = Math.floor(best);
    const size = Math.max(1, Math.min(below + (best ** 2 > below * (below + 1)), most));
    const samples = count * size;
    const [updates, error] = law.at(samples);
    const hours = hoursAt(size, count);
    return {
      batch_size: size,
      devices: count,
      limited: best > most,
      updates,
      updates_interval: [Math.max(0, updates - law.quantile * error), updates + law.quantile * error],
      samples: updates * samples,
      hours,
      cost: hours * count * price,
      lr: scaledRate(lr, law.size, samples, critical, power),
      beta2: beta2 ** (samples / law.size),
    };
  };

  const alone = fastestSize(critical, overhead, perSample);
  const shared = fastestSize(critical, overhead + exchange * (devices > 1), perSample, devices);
  const cheapest = choice(alone, 1);
  const together = choice(shared, devices);
  return {
    critical,
    critical_interval: law.interval,
    fewest_updates: fewest,
    fewest_samples: fewest * critical,
    overhead,
    per_sample: perSample,
    fastest: together.hours <= cheapest.hours ? together : cheapest,
    cheapest,
    sample_saving: choice(Math.min(alone, critical / 10), 1),
    hoursAt,
  };
}
