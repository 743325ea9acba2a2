// Saving a transcript in every format, from the text as it stands; subtitles in the shape that is wanted.

import { copyShown } from "./copying.js";
import { button, el, save } from "./dom.js";
import { FORMATS } from "./formats.js";

const FIELDS = [
  { name: "width", id: "shape-width", label: "Letters in a line", max: 1000 },
  { name: "lines", id: "shape-lines", label: "Lines in a subtitle", max: 10 },
  { name: "words", id: "shape-words", label: "Words in a line", max: 100 },
];
let [format, shape] = ["text", {}]; // the next transcript is saved as this one was

/** Return the part of the page in which an entry of the history is saved. */
export function exports(entry) {
  const hasSpeakers = entry.doc.segments.some(({ speaker }) => speaker !== undefined);
  const listed = Object.entries(FORMATS).filter(([, { speakers }]) => !speakers || hasSpeakers);
  const chosen = el(
    "select",
    { id: "export-format", onchange: () => choose() },
    ...listed.map(([id, { name }]) => el("option", { value: id, text: name })),
  );
  const fields = FIELDS.map(({ name, id, label, max }) => {
    const field = el("input", { id, type: "number", min: 1, max, step: 1, placeholder: "any" });
    field.value = shape[name] ?? "";
    field.addEventListener("input", () => (shape[name] = field.valueAsNumber || undefined));
    return el("label", {}, `${label} `, field);
  });
  const marks = el("input", { id: "shape-marks", type: "checkbox" });
  marks.checked = Boolean(shape.marks);
  marks.addEventListener("change", () => (shape.marks = marks.checked));
  const form = el(
    "form",
    { class: "shape", "aria-label": "Shape of the subtitles", onsubmit: (event) => event.preventDefault() },
    ...fields,
    el("label", { class: "check" }, marks, " Underline each word while it is spoken"),
    entry.doc.words
      ? null
      : el("p", { class: "help", text: "No word has a time of its own here: the segment's is shared out." }),
  );
  const choose = () => {
    format = chosen.value;
    form.hidden = !FORMATS[format].shapes || Boolean(entry.doc.untimed);
  };
  if (listed.some(([id]) => id === format)) chosen.value = format;
  choose();
  const isValid = () => form.hidden || form.reportValidity();
  const written = () => FORMATS[chosen.value].write(entry.doc, form.hidden ? null : shape);
  const download = () => {
    if (!isValid()) return;
    const { suffix, type } = FORMATS[chosen.value];
    const stem = entry.name.replace(/\.[^.]{1,5}$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "transcript";
    save(written(), `${stem}.${suffix}`, type);
  };
  return el(
    "div",
    { class: "saving" },
    el(
      "div",
      { class: "export" },
      el("label", {}, "Format ", chosen),
      button("Download", download, { id: "export-download", class: "primary" }),
      button("Copy", ({ target }) => isValid() && copyShown(written(), target), { id: "export-copy" }),
    ),
    form,
  );
}
