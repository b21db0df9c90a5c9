import { ALTERNATIVES, ask, askForEvents, characters, encoder, toBase64 } from "./ask.js";

// One model behind a gateway: texts by the OpenAI API, all else by the Open Inference Protocol.
// It has the methods of `RestModel`, and the newest version alone.
export class GatewayModel {
  constructor(name) {
    this.name = name;
    this.path = `v2/models/${encodeURIComponent(name)}`;
  }

  async versions(signal) {
    const { versions } = await ask(this.path, null, signal);
    return versions.slice(-1);
  }

  async infer(version, signature_name, inputs, output, signal) {
    const body = { parameters: { signature_name }, inputs, outputs: [{ name: output }] };
    const path = version ? `${this.path}/versions/${version}/infer` : `${this.path}/infer`;
    const { outputs } = await ask(path, body, signal);
    return nested(outputs[0].data, outputs[0].shape);
  }

  // Continues a prompt by a stream of events; yields pieces as lists of characters.
  async *generate(_version, prompt, length, params, signal) {
    const given = Object.entries(params).map(([name, [value]]) => [name, value]);
    const body = {
      ...Object.fromEntries(given.filter(([, value]) => value !== "")),
      model: this.name,
      prompt,
      max_tokens: length,
      logprobs: ALTERNATIVES,
      stream: true,
    };
    for await (const event of askForEvents("v1/completions", body, signal)) {
      const reported = event.choices[0].logprobs;
      if (!reported) continue; // the end of a text without characters
      const { tokens, token_logprobs, top_logprobs } = reported;
      yield tokens.map((token, position) => ({
        bytes: toBytes(token),
        logProbability: token_logprobs[position],
        alternatives: likeliest(top_logprobs[position]),
      }));
    }
  }

  async score(version, text, signal) {
    const input = strings("text", [text]);
    const [scores] = await this.infer(version, "score", [input], "log_probabilities", signal);
    return characters(encoder.encode(text), scores.length).map((bytes, position) => ({
      bytes,
      logProbability: scores[position],
      alternatives: [],
    }));
  }

  async memories(version, bytes, unit, signal) {
    const text = { ...strings("text", [toBase64(bytes).b64]), parameters: { content_type: "base64" } };
    const inputs = [text, integers("unit", [unit])];
    const [memories] = await this.infer(version, "inspect", inputs, "memories", signal);
    return memories.map((layers) => layers.map(([value]) => value));
  }

  async size(version) {
    const inputs = [strings("text", [""]), integers("unit", [-1])];
    const [[layers]] = await this.infer(version, "inspect", inputs, "memories");
    return { layers: layers.length, units: layers[0].length };
  }
}

function strings(name, data) {
  return { name, shape: [data.length], datatype: "BYTES", data };
}

function integers(name, data) {
  return { name, shape: [data.length], datatype: "INT32", data };
}

// Returns nested lists of the sizes of a shape, for a flat one.
function nested(data, [size, ...rest]) {
  if (!rest.length) return data;
  const step = rest.reduce((product, one) => product * one, 1);
  return Array.from({ length: size }, (_, row) =>
    nested(data.slice(row * step, (row + 1) * step), rest),
  );
}

// Converts a token to bytes; those that are no UTF-8 are spelt `bytes:\xc3`.
function toBytes(token) {
  if (!/^bytes:(\\x[0-9a-f]{2})+$/.test(token)) return encoder.encode(token);
  return Uint8Array.from(token.matchAll(/\\x(..)/g), ([, digits]) => parseInt(digits, 16));
}

// Returns the likeliest tokens in order. The token itself is among them though it may be none.
function likeliest(byToken) {
  return Object.entries(byToken)
    .sort(([, a], [, b]) => b - a)
    .slice(0, ALTERNATIVES)
    .map(([token, logProbability]) => ({ bytes: toBytes(token), logProbability }));
}
