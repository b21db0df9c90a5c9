import { ALTERNATIVES, ask, characters, encoder, Problem, toBase64, toBytes } from "./ask.js";

const PIECE = 16; // characters; the first piece has one, so that it comes soon

// One model behind TensorFlow Serving's REST protocol; an empty version is the newest.
// A character is `{ bytes, logProbability, alternatives: [{ bytes, logProbability }] }`.
export class RestModel {
  constructor(name) {
    this.name = name;
    this.path = `v1/models/${encodeURIComponent(name)}`;
  }

  // The available versions as strings, the newest first: a number of JavaScript cannot hold them all.
  async versions(signal) {
    const status = await ask(this.path, null, signal);
    const versions = status.model_version_status
      .filter((one) => one.state === "AVAILABLE")
      .map((one) => one.version)
      .sort((a, b) => (BigInt(a) < BigInt(b) ? 1 : -1));
    if (versions.length) return versions;
    throw new Problem(`No version of the model ${this.name} is available yet; try again later.`);
  }

  pathOf(version) {
    return version ? `${this.path}/versions/${version}` : this.path;
  }

  async predict(version, signature_name, inputs, signal) {
    const body = { signature_name, inputs };
    return (await ask(`${this.pathOf(version)}:predict`, body, signal)).outputs;
  }

  // Continues a prompt; yields pieces as lists of characters. The server keeps nothing: the state
  // after a piece is sent with the request for the next one.
  async *generate(version, prompt, length, params, signal) {
    const inputs = { ...params, prompt: [prompt], alternatives: [ALTERNATIVES] };
    let size = 1;
    for (let left = length; left > 0; size = PIECE) {
      inputs.length = [Math.min(left, size)];
      const outputs = await this.predict(version, "generate", inputs, signal);
      const count = outputs.characters[0];
      left = outputs.stopped[0] ? 0 : left - count;
      inputs.prompt = [""];
      inputs.state = outputs.state;
      yield characters(toBytes(outputs.text[0]), count).map((bytes, position) => ({
        bytes,
        logProbability: outputs.log_probabilities[0][position],
        alternatives: outputs.alternatives[0][position].map((value, rank) => ({
          bytes: toBytes(value),
          logProbability: outputs.alternative_log_probabilities[0][position][rank],
        })),
      }));
    }
  }

  // Scores a text; returns its characters, without alternatives.
  async score(version, text, signal) {
    const outputs = await this.predict(version, "score", { text: [text] }, signal);
    const scores = outputs.log_probabilities[0];
    return characters(encoder.encode(text), scores.length).map((bytes, position) => ({
      bytes,
      logProbability: scores[position],
      alternatives: [],
    }));
  }

  // Returns the memory of one unit in each layer after each character, `[characters][layers]`.
  async memories(version, bytes, unit, signal) {
    const inputs = { text: [toBase64(bytes)], unit: [unit] };
    const outputs = await this.predict(version, "inspect", inputs, signal);
    return outputs.memories[0].map((layers) => layers.map(([value]) => value));
  }

  // Returns the numbers of layers and units: an inspection of no text has both, whatever the
  // vocabulary holds.
  async size(version) {
    const { memories } = await this.predict(version, "inspect", { text: [""], unit: [-1] });
    const [[layers]] = memories;
    return { layers: layers.length, units: layers[0].length };
  }
}
