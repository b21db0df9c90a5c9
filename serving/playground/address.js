// The settings in the fragment of the address, which the browser sends to no server.

const LONGEST = 4000; // characters; some programs cut longer addresses

// Writes what the form holds to the address, without the prompt where that is too long; returns
// whether the prompt is in it.
export function writeAddress(form) {
  const settings = new URLSearchParams(new FormData(form));
  const fits = settings.toString().length <= LONGEST;
  if (!fits) settings.delete("prompt");
  if (settings.toString().length <= LONGEST) history.replaceState(null, "", `#${settings}`);
  return fits;
}

// Returns the settings in the address by name.
export function readAddress() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

// Sets the fields for which there is a setting, but for the model and the version, whose options the
// server knows.
export function restore(controls, settings) {
  for (const control of controls) {
    const value = settings[control.name];
    if (!control.name || value === undefined || control.localName === "select") continue;
    if (control.type === "radio") control.checked = control.value === value || control.checked;
    else control.value = value;
  }
}

// Selects an option where there is one; returns whether there is.
export function select(control, value) {
  const found = [...control.options].find((option) => option.value === value);
  if (found) found.selected = true;
  return Boolean(found);
}
