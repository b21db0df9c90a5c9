// The page: sends what the form holds to the server, and shows the text as it arrives.

import { form, Model, models } from "./server.js";
import { MOST_BITS, Text } from "./text.js";

const field = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id, element]),
);
let fields = []; // of the form, as the server describes them
let maxInspected = 0; // characters that `inspect` takes
const text = new Text(field.text, field.alternatives);
let model = null;
let writer = null; // model that wrote the text
let version = null; // version that wrote the text
let running = null;
let memories = null; // of the last characters, see `Model.memories`
let inspecting = false;

function complain(error) {
  field.problem.textContent = error?.message ?? "";
  field.problem.hidden = !error;
}

// Runs an action, and shows its error.
async function attempt(action) {
  try {
    complain(null);
    await action();
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
}

// Builds a field for each input that the server names: sliders first, the others side by side.
async function showForm() {
  ({ fields, max_inspected: maxInspected } = await form());
  const pair = document.createElement("div");
  pair.className = "pair";
  for (const { name, label, type, attributes } of fields) {
    const input = document.createElement("input");
    Object.assign(input, { id: name, type });
    for (const [key, value] of Object.entries(attributes)) input.setAttribute(key, value);
    const element = document.createElement("label");
    element.append(`${label} `);
    if (type === "range") {
      const output = document.createElement("output");
      output.htmlFor = name;
      element.className = "slider";
      element.append(output);
    }
    element.append(input);
    (type === "range" ? field.inputs : pair).append(element);
    field[name] = input;
  }
  field.inputs.append(pair);
  showValues();
}

async function showModels() {
  const names = await models();
  field.model.replaceChildren(...names.map((name) => new Option(name)));
  await showVersions();
}

async function showVersions() {
  model = new Model(field.model.value);
  const versions = await model.versions();
  const newest = new Option("newest", "");
  field.version.replaceChildren(newest, ...versions.map((number) => new Option(number)));
}

function samplingParams() {
  const chosen = fields.filter(({ sampling }) => sampling);
  return Object.fromEntries(
    chosen.map(({ name, type }) => [
      name,
      [type === "text" ? field[name].value : field[name].valueAsNumber],
    ]),
  );
}

async function generate() {
  const prompt = field.prompt.value;
  running = new AbortController();
  field.halt.disabled = false;
  field.generate.disabled = true;
  text.clear();
  memories = null;
  field.figures.textContent = "";
  try {
    writer = model;
    version = Number(field.version.value) || (await writer.versions())[0];
    if (prompt) text.add(await writer.score(version, prompt), "prompt");
    await follow(
      writer.generate(version, prompt, field.length.valueAsNumber, samplingParams(), running.signal),
    );
  } finally {
    text.end();
    running = null;
    field.halt.disabled = true;
    field.generate.disabled = false;
    shade();
  }
}

// Shows pieces as they come, and how fast that is.
async function follow(pieces) {
  const begun = performance.now();
  let count = 0;
  let nats = 0;
  for await (const piece of pieces) {
    text.add(piece);
    count += piece.length;
    nats -= piece.reduce((sum, one) => sum + one.logProbability, 0);
    const speed = (1000 * count) / (performance.now() - begun);
    const mean = count ? nats / count / Math.LN2 : 0;
    field.figures.textContent =
      `version ${version}: ${count} characters, ${speed.toFixed(0)} per second, ` +
      `${mean.toFixed(2)} bits each`;
  }
}

function shade() {
  const byMemory = field.request.elements.shade.value === "memory";
  const [low, , high] = field.scale.children;
  field.scale.classList.toggle("memory", byMemory);
  [low.textContent, high.textContent] = byMemory ? ["−", "+"] : ["0", `${MOST_BITS} bits`];
  field.layer.disabled = field.unit.disabled = !byMemory;
  text.surprising = !byMemory;
  if (!byMemory) text.shadeBySurprise();
  else if (memories) showMemories();
  if (byMemory && !running) attempt(inspect);
}

function showMemories() {
  const layer = field.layer.valueAsNumber;
  const values = memories.map((layers) => layers[layer] ?? 0);
  const most = Math.max(...values.map(Math.abs)) || 1; // a memory may count beyond 1
  const [low, , high] = field.scale.children;
  [low.textContent, high.textContent] = [`−${most.toFixed(1)}`, `+${most.toFixed(1)}`];
  text.shadeBy(values.map((value) => value / most));
}

// Fetches the chosen memory cell, unless a request for it is running.
async function inspect() {
  const characters = text.characters.slice(-maxInspected);
  if (inspecting || !characters.length) return;
  const unit = field.unit.valueAsNumber || 0;
  inspecting = true;
  try {
    const bytes = characters.flatMap((one) => [...one.bytes]);
    memories = await writer.memories(version, bytes, unit);
    field.layer.max = memories[0].length - 1;
    field.unit.max = (await writer.size()) / memories[0].length - 1;
    showMemories();
  } finally {
    inspecting = false;
  }
  if (unit !== (field.unit.valueAsNumber || 0)) await inspect();
}

function showValues() {
  for (const { name, names } of fields) {
    const output = document.querySelector(`output[for="${name}"]`);
    if (output) output.textContent = names[field[name].value] ?? field[name].value;
  }
}

field.request.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) attempt(generate);
});
field.halt.addEventListener("click", () => running?.abort());
field.model.addEventListener("change", () => attempt(showVersions));
field.layer.addEventListener("input", () => memories && showMemories());
field.unit.addEventListener("input", () => attempt(inspect));
for (const radio of field.request.elements.shade) radio.addEventListener("change", shade);
field.request.addEventListener("input", showValues);

shade();
attempt(async () => {
  await showForm();
  await showModels();
});
