// The planner page: from the form to the plan, and from the address to the form.

const FIELDS = {
  sizes: ["size1", "size2"],
  updates: ["updates1", "updates2"],
  noise_scale: ["noise"],
  relative_error: ["error"],
  timed_sizes: ["timed1", "timed2"],
  seconds: ["seconds1", "seconds2"],
  power: ["optimizer"],
};

// What was typed as a number; null for nothing, and as it is where it is no number.
function typed(text) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  return Number.isNaN(Number(trimmed)) ? trimmed : Number(trimmed);
}

const repeated = (text) => text.split(/[,;\s]+/).filter(Boolean).map(typed);

// Numbers for both sizes, or repeats for both.
function updatesOf(first, second) {
  const runs = [repeated(first), repeated(second)];
  return runs.some((each) => each.length > 1) ? runs : runs.map(([only]) => only ?? null);
}

// The arguments of `plan` from what stands in the form.
function argumentsOf(entries) {
  const value = (name) => typed(entries[name]);
  const adam = entries.optimizer === "adam";
  const percent = value("error");
  const given = {
    relative_error: typeof percent === "number" ? percent / 100 : percent,
    timed_sizes: [value("timed1"), value("timed2")],
    seconds: [value("seconds1"), value("seconds2")],
    lr: value("lr"),
    power: adam ? 0.5 : 1,
    beta2: adam ? value("beta2") ?? "" : 0.999,
  };
  for (const name of ["largest", "devices", "exchange", "price"]) given[name] = value(name);
  if (entries.way === "noise") {
    return { ...given, sizes: value("size1"), updates: value("updates1"), noise_scale: value("noise") ?? "" };
  }
  return { ...given, sizes: [value("size1"), value("size2")], updates: updatesOf(entries.updates1, entries.updates2) };
}

const range = ([low, high]) => (high === Infinity ? `${shown(low)} or more` : `${shown(low)} to ${shown(high)}`);

// The one thing that would change the answer most.
function change(made, given) {
  const { fastest, critical_interval: known } = made;
  const free = plan({ ...given, largest: null }).fastest;
  if (fastest.hours > 1.05 * free.hours) {
    return `Memory decides: if a device held batches of ${shown(free.batch_size, 4)}, the target would take ` +
      `${duration(free.hours)} instead of ${duration(fastest.hours)}.`;
  }
  if (known[1] > 4 * known[0]) {
    const pause = given.exchange * (fastest.devices > 1);
    const sizes = known.map((each) => fastestSize(each, made.overhead + pause, made.per_sample, fastest.devices));
    return `A better known critical batch size may change it: with one of ${range(known)}, the fastest batch size ` +
      `on each device is ${range(sizes)}. Repeats, or sizes further apart, narrow it down.`;
  }
  const slower = 100 * (made.hoursAt(2 * free.batch_size, free.devices) / free.hours - 1);
  return `Little would: twice the fastest batch size takes ${shown(slower, 2)} % longer. Only a critical batch size, ` +
    "or a fixed cost of an update, four times as large would double it.";
}

const ROWS = [
  ["Batch size, each device", (each) => shown(each.batch_size, 6) + (each.limited ? "<small>all that fits</small>" : "")],
  ["Devices", (each) => shown(each.devices, 6)],
  ["Updates", (each) => `${shown(each.updates)}<small>${range(each.updates_interval)}</small>`],
  ["Samples", (each) => shown(each.samples)],
  ["Time", (each) => duration(each.hours)],
  ["Price", (each, given) => (given.price ? shown(each.cost) : "")],
  ["Rate to begin with", (each) => shown(each.lr)],
  ["β₂ to begin with", (each, given) => (given.power === 0.5 ? shown(1 - Number((1 - each.beta2).toPrecision(2)), 8) : "")],
];

function table(made, given) {
  const head = Object.values(NAMES).map((name) => `<th scope="col">${name}</th>`).join("");
  const rows = ROWS.map(([name, cell]) => [name, Object.keys(NAMES).map((key) => cell(made[key], given))]);
  const body = rows.filter(([, cells]) => cells[0] !== "").map(
    ([name, cells]) => `<tr><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`,
  );
  return `<table><thead><tr><td></td>${head}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}

function start(form, place) {
  const part = (id) => document.getElementById(id);

  function show(given) {
    const made = plan(given);
    const { critical, critical_interval: known, overhead, per_sample: each } = made;
    part("critical").innerHTML =
      `The critical batch size is <strong>${shown(critical)}</strong> samples (95 % interval ${range(known)}). ` +
      `An update takes ${shown(1e3 * overhead)} ms, and ${shown(1e6 * each)} µs for each sample.`;
    part("change").innerHTML = `<strong>What would change the answer?</strong> ${change(made, given)}`;
    part("choices").innerHTML = table(made, given);
    part("curve").innerHTML = curve(made, given.largest, part("curve").clientWidth);
  }

  function mark(field, message) {
    const names = FIELDS[field] ?? [field];
    for (const input of form.querySelectorAll("input, select")) {
      input.toggleAttribute("aria-invalid", false);
      if (names.includes(input.name)) input.setAttribute("aria-invalid", "true");
    }
    for (const error of form.querySelectorAll(".error")) {
      const meant = error.dataset.for.split(" ").includes(field);
      error.textContent = meant ? message : "";
      if (meant) form.elements[names.at(-1)].closest(".inputs").after(error);
    }
  }

  function update() {
    const entries = Object.fromEntries(new FormData(form));
    for (const each of form.querySelectorAll("[data-way]")) each.hidden = each.dataset.way !== entries.way;
    form.querySelector("[data-optimizer]").hidden = entries.optimizer !== "adam";
    place.hidden = false;
    try {
      show(argumentsOf(entries));
      mark(null);
    } catch (error) {
      if (!(error instanceof Contradiction)) throw error;
      place.hidden = true;
      mark(error.field, error.message);
    }
  }

  function restore() {
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      if (form.elements[name]) form.elements[name].value = value;
    }
    update();
  }

  for (const error of form.querySelectorAll(".error")) {
    error.setAttribute("aria-live", "polite");
    for (const input of error.parentElement.querySelectorAll("input, select")) {
      input.setAttribute("aria-describedby", error.id);
    }
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    history.replaceState(null, "", `#${new URLSearchParams(new FormData(form))}`);
    update();
  });
  window.addEventListener("hashchange", restore);
  window.addEventListener("resize", update);
  restore();
}

if (typeof document !== "undefined") start(document.getElementById("planner"), document.getElementById("plan"));
