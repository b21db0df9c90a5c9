// The memory cell that shades the text: which one it is, and what it held at each character.

import { wholeNumber } from "./form.js";

const MAX_INT32 = 2 ** 31 - 1;

export class MemoryCell {
  // Args: the text, and the page's elements by id.
  constructor(text, { layer, unit, layers, units }) {
    Object.assign(this, { text, layer, unit, layers, units });
    this.clear();
  }

  clear() {
    this.request?.abort();
    this.request = null;
    this.memories = null; // of the last characters, see `Model.memories`
  }

  // Tells the fields how many layers and units the model has; null where that is unknown.
  limit(size) {
    for (const [name, input] of Object.entries({ layers: this.layer, units: this.unit })) {
      if (size) input.max = size[name] - 1;
      else input.removeAttribute("max");
      this[name].textContent = size ? `(0 to ${input.max})` : "";
    }
  }

  indexIn(input, label) {
    return Number(wholeNumber(input, label, 0, Number(input.max || MAX_INT32)));
  }

  // Shades the text; returns the largest memory, which is the full shade.
  show() {
    const layer = this.indexIn(this.layer, "Layer");
    const values = this.memories.map((layers) => layers[layer] ?? 0);
    const most = Math.max(...values.map(Math.abs)) || 1; // a memory may count beyond 1
    this.text.shadeBy(values.map((value) => value / most));
    return most;
  }

  // Fetches the memories of a unit, unless a request is running. Returns whether there are new ones.
  async fetch(writer, version, characters) {
    if (this.request || !characters.length) return false;
    const unit = this.indexIn(this.unit, "Unit");
    const request = (this.request = new AbortController());
    const bytes = characters.flatMap((one) => [...one.bytes]);
    try {
      this.memories = await writer.memories(version, bytes, unit, request.signal);
    } finally {
      if (this.request === request) this.request = null;
    }
    // The unit may have changed meanwhile.
    if (unit !== this.indexIn(this.unit, "Unit")) await this.fetch(writer, version, characters);
    return true;
  }
}
