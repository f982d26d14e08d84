// The planner's curve: predicted time to the target against batch size, both axes logarithmic.

const ROW = 18; // pixels of a line of labels
const UNITS = [[24, "days", "d"], [1, "hours", "h"], [1 / 60, "minutes", "min"], [1 / 3600, "seconds", "s"]];
const NAMES = { fastest: "fastest", cheapest: "cheapest", sample_saving: "sample-saving" };

const shown = (value, digits = 3) =>
  value.toLocaleString("en", { maximumSignificantDigits: value >= 1000 ? 4 : digits });

// The largest unit of which there is one or more; short times are in seconds.
function unitOf(hours) {
  return UNITS.find(([length]) => hours >= length) ?? UNITS[3];
}

function duration(hours) {
  const [length, , symbol] = unitOf(hours);
  return `${shown(hours / length)} ${symbol}`;
}

// Choices that fall on the same point share a label.
function points(made) {
  const found = new Map();
  for (const [key, name] of Object.entries(NAMES)) {
    const { batch_size, devices, hours } = made[key];
    const at = `${batch_size} x ${devices}`;
    const names = [...(found.get(at)?.names ?? []), name];
    found.set(at, { names, size: batch_size * devices, hours });
  }
  return [...found.values()];
}

// Powers of ten; where there are fewer than three, twice and five times them, too.
function ticks(low, high) {
  const decades = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) decades.push(10 ** power);
  const inside = (each) => each >= low && each <= high;
  const tens = decades.filter(inside);
  return tens.length > 2 ? tens : decades.flatMap((ten) => [ten, 2 * ten, 5 * ten]).filter(inside);
}

function scale(low, high, from, to) {
  return (value) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
}

// Sizes and hours with a number of devices; of fractions of a sample there is none.
function line(made, count, low, high) {
  const start = Math.max(low, count);
  const sizes = Array.from({ length: 121 }, (_, i) => start * (high / start) ** (i / 120));
  return sizes.map((size) => [size, made.hoursAt(size / count, count)]);
}

function path(line, x, y, kind) {
  const steps = line.map(([size, hours]) => `${x(size).toFixed(1)},${y(hours).toFixed(1)}`);
  return steps.length > 1 ? `<path class="${kind}" d="M${steps.join("L")}"/>` : "";
}

function described(made, marks) {
  const list = marks.map(({ names, size, hours }) => `${names.join(" and ")}: ${shown(size, 4)} per update, ${duration(hours)}`);
  return (
    "Predicted time to the target against the samples of an update, on logarithmic axes: the time falls, " +
    `levels off and rises again. Marked are ${list.join("; ")}. A band shows where the critical batch size lies, about ${shown(made.critical)}.`
  );
}

// The curve as SVG, as wide as its place.
function curve(made, largest, width) {
  const marks = points(made);
  const sizes = [...marks.map((mark) => mark.size), made.critical];
  const [low, high] = [Math.max(1, Math.min(...sizes) / 8), Math.max(...sizes, 2) * 8];
  const counts = [...new Set([1, made.fastest.devices])];
  const lines = counts.map((count) => line(made, count, low, high));
  const all = [...lines.flat().map(([, hours]) => hours), ...marks.map((mark) => mark.hours)];
  const [length, unit] = unitOf(Math.min(...all));
  const [least, longest] = [Math.min(...all) / 1.3, Math.max(...all)];

  const [left, top, right, bottom] = [56, ROW * (marks.length + 1), width - 24, 300 + ROW * marks.length];
  const [x, y] = [scale(low, high, left, right), scale(least, longest, bottom, top)];
  const text = (at, height, anchor, words) => `<text x="${at}" y="${height}" text-anchor="${anchor}">${words}</text>`;
  const between = (value) => x(Math.min(high, Math.max(low, value)));

  const [from, to] = made.critical_interval.map(between);
  const parts = [`<rect class="band" x="${from}" y="${top}" width="${to - from}" height="${bottom - top}"/>`];
  parts.push(text((from + to) / 2, bottom - 8, "middle", 'B<tspan dy="3" font-size="10">crit</tspan>'));
  for (const tick of ticks(low, high)) {
    parts.push(`<path class="grid" d="M${x(tick)},${top}V${bottom}"/>`, text(x(tick), bottom + 17, "middle", shown(tick)));
  }
  for (const tick of ticks(least / length, longest / length)) {
    const height = y(tick * length);
    parts.push(`<path class="grid" d="M${left},${height}H${right}"/>`, text(left - 6, height + 4, "end", shown(tick)));
  }
  lines.forEach((each, i) => {
    const fits = ([size]) => size <= (largest ?? Infinity) * counts[i];
    const [size, hours] = each.at(-1);
    const name = counts.length > 1 ? `${counts[i]} ${counts[i] === 1 ? "device" : "devices"}` : "";
    parts.push(text(x(size), y(hours) - 8, "end", name));
    parts.push(path(each.filter((point) => !fits(point)), x, y, "law beyond"), path(each.filter(fits), x, y, "law"));
  });
  marks.forEach(({ names, size, hours }, i) => {
    const [across, height] = [x(size), ROW * (i + 1)];
    const [anchor, shift] = across < width / 2 ? ["start", 5] : ["end", -5];
    parts.push(`<path class="lead" d="M${across},${height - 12}V${y(hours)}"/>`);
    parts.push(`<circle class="mark" cx="${across}" cy="${y(hours)}" r="6"/>`);
    parts.push(text(across + shift, height, anchor, `${names.join(", ")}: ${shown(size, 4)}`));
  });
  const title = text((left + right) / 2, bottom + 38, "middle", "samples per update, of all devices");
  const side = `<text transform="translate(13 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${unit} to the target</text>`;
  const box = `viewBox="0 0 ${width} ${bottom + 46}" height="${bottom + 46}"`;
  return `<svg role="img" aria-label="${described(made, marks)}" ${box}>${parts.join("")}${title}${side}</svg>`;
}
