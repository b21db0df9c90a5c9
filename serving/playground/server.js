// The server of this page: a model server with TensorFlow Serving's REST protocol, or a gateway.

import { ask } from "./ask.js";
import { GatewayModel } from "./gateway.js";
import { RestModel } from "./rest.js";

export { Problem } from "./ask.js";

let Model = RestModel;

// Returns the fields of the form, and the largest number of characters that `inspect` accepts.
export async function form() {
  const described = await ask("playground/form");
  Model = described.protocol === "gateway" ? GatewayModel : RestModel;
  return described;
}

// Returns the names of the models on the server.
export async function models() {
  return (await ask("playground/models")).models;
}

// Returns one of the models, after `form`.
export function openModel(name) {
  return new Model(name);
}
