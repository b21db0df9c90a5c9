// Sends requests to the server of this page, by TensorFlow Serving's REST protocol.

const PIECE = 16; // characters; the first piece has one, so that it comes soon
const ALTERNATIVES = 8;
const ROOT = new URL("..", import.meta.url);

const encoder = new TextEncoder();

async function ask(path, body, signal) {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let response;
  try {
    response = await fetch(new URL(path, ROOT), { ...options, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; start it again.");
  }
  const answer = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {}; // an answer without JSON has a status that says enough
  });
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

// Returns the names of the models on the server.
export async function models() {
  return (await ask("playground/models")).models;
}

// Returns the fields of the form, and the largest number of characters that `inspect` accepts.
export async function form() {
  return ask("playground/form");
}

// Converts a JSON string, or base64 of bytes that are not UTF-8, to bytes.
function toBytes(value) {
  if (typeof value === "string") return encoder.encode(value);
  return Uint8Array.from(atob(value.b64), (character) => character.charCodeAt(0));
}

function toBase64(bytes) {
  return { b64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
}

// Splits text into the model's characters, bytes or code points, of which there are `count`.
function characters(bytes, count) {
  if (bytes.length === count) return Array.from(bytes, (byte) => Uint8Array.of(byte));
  return Array.from(new TextDecoder().decode(bytes), (one) => encoder.encode(one));
}

// One model. A character is `{ bytes, logProbability, alternatives: [{ bytes, logProbability }] }`.
export class Model {
  constructor(name) {
    this.path = `v1/models/${encodeURIComponent(name)}`;
  }

  // The available versions, the newest first.
  async versions() {
    const status = await ask(this.path);
    return status.model_version_status
      .filter((one) => one.state === "AVAILABLE")
      .map((one) => Number(one.version))
      .sort((a, b) => b - a);
  }

  async predict(version, signature_name, inputs, signal) {
    const path = `${this.path}/versions/${version}:predict`;
    return (await ask(path, { signature_name, inputs }, signal)).outputs;
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
  async score(version, text) {
    const scores = (await this.predict(version, "score", { text: [text] })).log_probabilities[0];
    return characters(encoder.encode(text), scores.length).map((bytes, position) => ({
      bytes,
      logProbability: scores[position],
      alternatives: [],
    }));
  }

  // Returns the memory of one unit in each layer after each character, `[characters][layers]`.
  async memories(version, bytes, unit) {
    const inputs = { text: [toBase64(bytes)], unit: [unit] };
    const outputs = await this.predict(version, "inspect", inputs);
    return outputs.memories[0].map((layers) => layers.map(([value]) => value));
  }

  // Returns the number of layers times that of units.
  async size() {
    const { metadata } = await ask(`${this.path}/metadata`);
    const { embed } = metadata.signature_def.signature_def;
    return Number(embed.outputs.embedding.tensor_shape.dim[1].size);
  }
}
