// The page: sends what the form holds to the server, and shows the text as it arrives.

import { readAddress, restore, select, writeAddress } from "./address.js";
import { build, showValues, valueOf } from "./form.js";
import { MemoryCell } from "./memory_cell.js";
import { attempt, field, report } from "./page.js";
import { form, models, openModel, Problem } from "./server.js";
import { MOST_BITS, Text } from "./text.js";

const EXAMPLE = 33; // characters of an example
const WRITING_DELAY = 400; // ms; browsers refuse to change the address more often

const text = new Text(field.text, field.alternatives, field.said);
const cell = new MemoryCell(text, field);
let fields = null; // of the form, as the server describes them
let maxInspected = 0; // characters that `inspect` takes
let model = null;
let writer = null; // model that wrote the text
let version = null; // version that wrote the text
let running = null; // what stops the requests that the user waits for
let loading = null; // promise of what the form needs
let writing = null; // timer of the address

// Runs an action that the user waits for, one at a time.
async function wait(action) {
  if (running) return;
  running = new AbortController();
  showBusy(true);
  try {
    await load();
    await action(running.signal);
  } finally {
    running = null;
    showBusy(false);
  }
}

// The button keeps the focus, which it would lose if it were disabled.
function showBusy(isBusy) {
  if (!isBusy && document.activeElement === field.halt) field.generate.focus();
  field.generate.textContent = isBusy ? "Generating…" : "Generate";
  for (const button of [field.generate, field.example]) {
    button.setAttribute("aria-disabled", isBusy);
  }
  field.halt.disabled = !isBusy;
  field.text.setAttribute("aria-busy", isBusy);
}

// Asks the server what the form needs, once; again after a failure.
function load() {
  loading ??= fill().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

// Each field gets its value from the address when it is made: later, it may hold what a user wrote.
async function fill() {
  const settings = readAddress();
  if (!fields) {
    const described = await form();
    const made = build(described.fields, field.inputs);
    maxInspected = described.max_inspected;
    fields = described.fields;
    restore(made, settings);
    showValues(fields);
  }
  if (model) return;
  const names = await models();
  if (!names.length) throw new Problem("The server has no models yet; start it with one.");
  field.model.replaceChildren(...names.map((name) => new Option(name)));
  await selectModel(settings);
}

async function selectModel({ model: name, version: number }) {
  if (!name || select(field.model, name)) return showVersions(number);
  await showVersions();
  throw new Problem(`The server has no model ${name}, which the address names.`);
}

// Takes over the settings of another address.
async function restoreSettings() {
  const settings = readAddress();
  field.request.reset();
  restore(field.request.elements, settings);
  showValues(fields);
  shade();
  await selectModel(settings);
}

// Offers the versions of the chosen model, and selects one; "" for the newest.
async function showVersions(wanted = "") {
  const chosen = (model = openModel(field.model.value));
  cell.limit(null);
  field.version.replaceChildren(new Option("newest", ""));
  const versions = await chosen.versions();
  if (chosen !== model) return; // another was chosen meanwhile
  field.version.append(...versions.map((number) => new Option(number)));
  const isThere = select(field.version, wanted);
  report(showLimits); // for which nothing else has to wait
  if (!isThere) throw new Problem(`The server has no version ${wanted}; this is the newest.`);
}

async function showLimits() {
  const [chosen, number] = [model, field.version.value];
  const size = await chosen.size(number);
  if (chosen === model && number === field.version.value) cell.limit(size);
}

function samplingParams() {
  const chosen = fields.filter(({ sampling }) => sampling);
  return Object.fromEntries(chosen.map((one) => [one.name, [valueOf(one)]]));
}

async function generate(signal) {
  const prompt = field.prompt.value;
  const length = valueOf(fields.find(({ name }) => name === "length"));
  const params = samplingParams();
  keepSettings();
  if (field.text.contains(document.activeElement)) field.generate.focus();
  text.clear();
  cell.clear();
  field.figures.textContent = "";
  try {
    writer = model;
    version = field.version.value || (await writer.versions(signal))[0];
    if (prompt) text.add(await writer.score(version, prompt, signal), "prompt");
    await follow(writer.generate(version, prompt, length, params, signal));
  } finally {
    text.end();
    field.said.textContent = field.figures.textContent;
  }
}

// Shows pieces as they come, and how fast that is.
async function follow(pieces) {
  const begun = performance.now();
  let count = 0;
  let nats = 0;
  for await (const piece of pieces) {
    text.add(piece);
    if (!count) field.text.scrollIntoView({ block: "nearest" }); // below the form on a phone
    count += piece.length;
    nats -= piece.reduce((sum, one) => sum + one.logProbability, 0);
    const speed = (1000 * count) / (performance.now() - begun);
    const mean = count ? nats / count / Math.LN2 : 0;
    field.figures.textContent =
      `version ${version}: ${count} ${count === 1 ? "character" : "characters"}, ` +
      `${speed.toFixed(0)} per second, ` +
      `${mean.toFixed(2)} bits each`;
  }
}

// Has the model write a prompt, as no text suits the vocabulary of every model.
async function writeExample(signal) {
  const seed = [Math.floor(Math.random() * 2 ** 32)];
  const bytes = [];
  for await (const piece of model.generate(field.version.value, "", EXAMPLE, { seed }, signal)) {
    bytes.push(...piece.flatMap((one) => [...one.bytes]));
  }
  // Controls, and bytes that are no text, cannot be typed.
  const written = new TextDecoder().decode(Uint8Array.from(bytes));
  const example = written.replace(/[^\P{C}\n\t]|\ufffd/gu, "");
  if (!example) throw new Problem("The model writes nothing that can be typed; go without a prompt.");
  field.prompt.value = example;
  keepSettings();
}

function shade() {
  const byMemory = field.request.elements.shade.value === "memory";
  field.layer.disabled = field.unit.disabled = !byMemory;
  text.surprising = !byMemory;
  if (!byMemory) text.shadeBySurprise();
  else if (cell.memories) report(() => showScale(cell.show()));
  else if (!running) report(inspect);
  if (!byMemory || !cell.memories) showScale();
}

// Writes the ends of the scale; `most` is the largest memory.
function showScale(most) {
  const byMemory = !text.surprising;
  const [low, , high] = field.scale.children;
  const end = most?.toFixed(1) ?? "";
  field.scale.classList.toggle("memory", byMemory);
  [low.textContent, high.textContent] = byMemory
    ? [`−${end}`, `+${end}`]
    : ["0", `${MOST_BITS} bits`];
}

async function inspect() {
  const characters = text.characters.slice(-maxInspected);
  if (await cell.fetch(writer, version, characters)) showScale(cell.show());
}

function keepSettings() {
  clearTimeout(writing);
  const fits = writeAddress(field.request);
  field.omitted.textContent = fits ? "" : "This prompt is too long to be kept in the address.";
}

function submit() {
  attempt(() => wait(generate)).finally(shade);
}

field.request.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) submit();
});
field.request.addEventListener("input", () => {
  if (!model) return; // the form is not complete
  showValues(fields);
  clearTimeout(writing);
  writing = setTimeout(keepSettings, WRITING_DELAY);
});
field.halt.addEventListener("click", () => running?.abort());
field.example.addEventListener("click", () => !running && attempt(() => wait(writeExample)));
field.model.addEventListener("change", () => attempt(showVersions));
field.version.addEventListener("change", () => attempt(showLimits));
field.layer.addEventListener("input", () => field.layer.value && attempt(shade));
field.unit.addEventListener("input", () => field.unit.value && attempt(inspect));
for (const radio of field.request.elements.shade) {
  radio.addEventListener("change", () => attempt(shade));
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return; // the keys belong to an input method
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (!event.repeat) field.request.requestSubmit();
  }
  if (event.key === "Escape" && !text.close()) running?.abort();
});
document.addEventListener("click", ({ target }) => field.text.contains(target) || text.close());
window.addEventListener("hashchange", () => {
  clearTimeout(writing);
  if (model) attempt(restoreSettings);
});

restore(field.request.elements, readAddress());
shade();
attempt(load);
