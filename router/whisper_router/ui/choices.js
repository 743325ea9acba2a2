// Lists to choose from: the models of the server, and the languages that one of them hears.

import { getJson } from "./api.js";
import { el } from "./dom.js";

const names = new Intl.DisplayNames(["en"], { type: "language" });
let known = [];

/** Ask for the models that a request may name. */
export async function models() {
  known = (await getJson("v1/models")).data;
  return known;
}

export const modelNamed = (id) => known.find((model) => model.id === id);

/** Fill a list with the models, each once by its own name; other names for them come after. */
export function fillModels(select, list) {
  const chosen = select.value;
  const own = list.filter((model) => !model.model);
  const other = list.filter((model) => model.model);
  const option = (model) => el("option", { value: model.id, text: model.id });
  const first = own.findIndex((model) => model.id === other[0]?.model);
  if (first > 0) own.unshift(...own.splice(first, 1)); // the default model
  select.replaceChildren(
    ...own.map(option),
    ...(other.length ? [el("optgroup", { label: "Other names" }, ...other.map(option))] : []),
  );
  if (list.some((model) => model.id === chosen)) select.value = chosen;
}

export function languageName(code) {
  try {
    return names.of(code) ?? code;
  } catch {
    return code;
  }
}

/** Fill a list with what the model hears. */
export function fillLanguages(select, modelId, { mixed = false } = {}) {
  const chosen = select.value;
  const heard = modelNamed(modelId)?.language ?? [];
  const listed = heard.map((code) => [languageName(code), code]).sort(([a], [b]) => a.localeCompare(b));
  select.replaceChildren(
    el("option", { value: "", text: "detect it" }),
    ...(mixed ? [el("option", { value: "mixed", text: "several, detect each" })] : []),
    ...listed.map(([name, code]) => el("option", { value: code, text: `${name} (${code})` })),
  );
  select.value = [...select.options].some((option) => option.value === chosen) ? chosen : "";
}

let codes = null;

/** Return the code of a language by its English name in lower case, as answers have it; undefined: unknown. */
function codeOf(name) {
  codes ??= new Map(["yue", "haw", ...pairs()].map((code) => [languageName(code).toLowerCase(), code]));
  return codes.get(name);
}

function pairs() {
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  return letters.flatMap((one) => letters.map((other) => one + other));
}

/** Return the language that an entry of the history is written in, for who has it read aloud. */
export function languageCode({ doc, options }) {
  if (doc.task === "translate") return "en";
  return options?.language && options.language !== "mixed" ? options.language : codeOf(doc.language);
}
