// The fields of the form that the server describes, and what they hold.

import { Problem } from "./server.js";

const BITS = { int32: 32, int64: 64 };

// Appends a field for each description: sliders first, the others side by side; returns the inputs.
export function build(fields, parent) {
  const pair = document.createElement("div");
  pair.className = "pair";
  for (const { name, label, type, attributes } of fields) {
    const input = document.createElement("input");
    Object.assign(input, { id: name, name, type });
    for (const [key, value] of Object.entries(attributes)) input.setAttribute(key, value);
    const text = document.createElement("label");
    text.htmlFor = name;
    text.textContent = label;
    const element = document.createElement("div");
    element.append(text, input);
    if (type === "range") {
      const output = document.createElement("output");
      output.htmlFor = name;
      output.setAttribute("aria-live", "off"); // the slider announces its value itself
      element.className = "slider";
      text.after(output);
    }
    (type === "range" ? parent : pair).append(element);
  }
  parent.append(pair);
  showValues(fields);
  return parent.querySelectorAll("input");
}

// Writes the values of sliders beside them, and as the values that they announce.
export function showValues(fields) {
  for (const { name, names, type } of fields) {
    if (type !== "range") continue;
    const input = document.getElementById(name);
    const shown = names[input.value] ?? input.value;
    document.querySelector(`output[for="${name}"]`).textContent = shown;
    input.setAttribute("aria-valuetext", shown);
  }
}

// Returns the value of a field as JSON has it; throws a Problem where it is invalid.
export function valueOf({ name, label, type, dtype }) {
  const input = document.getElementById(name);
  if (type === "range") return input.valueAsNumber;
  if (dtype === "string") return input.value;
  const end = 1n << BigInt(BITS[dtype] - 1);
  return wholeNumber(input, label, -end, end - 1n);
}

// Returns the integer in a field as a BigInt, since a Number is exact up to 2^53 only.
export function wholeNumber(input, label, least, most) {
  const text = input.value.trim();
  const value = /^-?\d{1,30}$/.test(text) ? BigInt(text) : null;
  const valid = value !== null && value >= least && value <= most;
  input.setAttribute("aria-invalid", !valid);
  if (valid) return value;
  input.focus();
  throw new Problem(`${label} must be a whole number from ${least} to ${most}.`);
}
