// A finished transcript: heard and read together, corrected, saved in every format.

import { copyShown } from "./copying.js";
import { $, announce, badge, button, clock, el, save, seconds } from "./dom.js";
import { FORMATS, edited } from "./formats.js";

const languages = new Intl.DisplayNames(["en"], { type: "language" });
const isPlainOnly =
  CSS.supports("-webkit-user-modify", "read-write-plaintext-only") ||
  CSS.supports("user-modify", "read-write-plaintext-only");

/** Give each segment the words that begin in it. */
function withWords(doc) {
  const words = [...(doc.words ?? [])];
  return doc.segments.map((segment, index) => {
    const until = doc.segments[index + 1]?.start ?? Infinity;
    const own = [];
    while (words.length && words[0].start < Math.max(until, segment.start)) own.push(words.shift());
    return { segment, words: own };
  });
}

/** Cut a text at its words: pieces, each with its word or none. */
function pieces(text, words) {
  const found = [];
  let at = 0;
  for (const word of words) {
    const begin = text.indexOf(word.word, at);
    if (begin < 0) continue;
    if (begin > at) found.push({ text: text.slice(at, begin) });
    at = begin + word.word.length;
    found.push({ text: text.slice(begin, at), word });
  }
  if (at < text.length) found.push({ text: text.slice(at) });
  return found;
}

/** Return the index of the last part that begins at or before a time, in seconds; -1: none does. */
function lastBegun(parts, at) {
  let [low, high] = [0, parts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (parts[middle].segment.start <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class TranscriptView {
  #address = null;
  #parts = [];
  #frame = 0;
  #marked = [];

  constructor(place) {
    this.place = place;
  }

  /** Show an entry of the history; `file` is its audio, if it is at hand. */
  show(entry, { file, onChange }) {
    this.close();
    this.entry = entry;
    this.onChange = onChange;
    const { doc, name } = entry;
    this.#parts = withWords(doc);
    const about = [
      badge(doc.language === "unknown" ? "language unknown" : doc.language, "busy"),
      doc.duration ? badge(seconds(doc.duration, 1)) : null,
      doc.task === "translate" ? badge("translated") : null,
      doc.holes ? badge(`${doc.holes.length} holes`, "warn") : null,
    ];
    this.place.replaceChildren(
      el(
        "div",
        { class: "row between" },
        el("h2", { class: "result-name", text: name, tabindex: "-1", id: "result-title" }),
        el(
          "div",
          { class: "row" },
          ...about.filter(Boolean),
          button("Close", () => this.hide(), { class: "quiet small" }),
        ),
      ),
      ...this.#player(file),
      this.#segments(),
      this.#exports(),
    );
    this.place.hidden = false;
  }

  hide() {
    this.close();
    this.place.hidden = true;
  }

  close() {
    cancelAnimationFrame(this.#frame);
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = this.audio = null;
    this.#marked = [];
    this.place.replaceChildren();
  }

  #player(file) {
    if (!file) return [el("p", { class: "help", text: "The audio is not at hand: text and times only." })];
    this.#address = URL.createObjectURL(file);
    this.audio = el("audio", {
      controls: true,
      src: this.#address,
      preload: "metadata",
      "aria-label": "The recording",
    });
    const follow = () => {
      this.#mark();
      if (!this.audio?.paused) this.#frame = requestAnimationFrame(follow);
    };
    this.audio.addEventListener("play", follow);
    for (const name of ["seeked", "timeupdate"]) this.audio.addEventListener(name, () => this.#mark());
    return [el("div", { class: "player" }, this.audio)];
  }

  #segments() {
    if (!this.#parts.length) return el("p", { class: "empty", text: "Nobody speaks in this recording." });
    const list = el("ol", { class: "segments", "aria-label": "Segments", tabindex: "0" });
    this.#parts.forEach((part, index) => list.append(this.#segment(part, index)));
    return list;
  }

  #segment(part, index) {
    const { segment, words } = part;
    part.said = el("div", {
      class: "said",
      role: "textbox",
      "aria-multiline": "true",
      "aria-label": `Text of segment ${index + 1}`,
      contenteditable: isPlainOnly ? "plaintext-only" : "true",
      spellcheck: "false",
      lang: languageCode(this.entry),
      oninput: () => this.#edit(index),
      onclick: ({ target }) =>
        target.dataset.start && this.#seek(Number(target.dataset.start), { play: false }),
    });
    part.spans = [];
    for (const piece of pieces(segment.text.trim(), words)) {
      if (!piece.word) {
        part.said.append(piece.text);
        continue;
      }
      const { start, end } = piece.word;
      const span = el("span", { text: piece.text, dataset: { start, end } });
      part.spans.push({ span, start, end });
      part.said.append(span);
    }
    part.row = el(
      "li",
      { class: "segment" },
      this.entry.doc.untimed
        ? el("span")
        : button(clock(segment.start), () => this.#seek(segment.start, { play: true }), {
            class: "seek",
            "aria-label": `Play from ${clock(segment.start)}`,
            disabled: !this.audio,
          }),
      part.said,
      segment.speaker === undefined ? null : el("span", { class: "speaker", text: segment.speaker }),
    );
    return part.row;
  }

  #seek(at, { play }) {
    if (!this.audio) return;
    this.audio.currentTime = at;
    if (play)
      this.audio.play().catch((error) => announce(`The recording cannot be played: ${error.message}`));
  }

  /** Mark what is heard now; it is called for every picture, so only what changes is touched. */
  #mark() {
    if (!this.audio) return;
    const now = this.audio.currentTime;
    const part = this.#parts[lastBegun(this.#parts, now)];
    const heard = [];
    if (part && now < part.segment.end) heard.push(part.row);
    for (const { span, start, end } of part?.spans ?? []) if (start <= now && now < end) heard.push(span);
    for (const old of this.#marked) if (!heard.includes(old)) old.classList.remove("now");
    for (const fresh of heard) if (!this.#marked.includes(fresh)) fresh.classList.add("now");
    this.#marked = heard;
  }

  #edit(index) {
    const part = this.#parts[index];
    part.original ??= { words: part.words };
    const changed = edited(part.segment, part.original.words, part.said.textContent);
    Object.assign(part, changed);
    part.said.classList.add("edited");
    const { doc } = this.entry;
    doc.segments = this.#parts.map(({ segment }) => segment);
    if (doc.words) doc.words = this.#parts.flatMap(({ words }) => words);
    doc.text = doc.segments
      .map(({ text }) => text)
      .join("")
      .trim();
    this.onChange?.(this.entry);
  }

  #exports() {
    const hasSpeakers = this.entry.doc.segments.some(({ speaker }) => speaker !== undefined);
    const listed = Object.entries(FORMATS).filter(([, format]) => !format.speakers || hasSpeakers);
    const chosen = el(
      "select",
      { id: "export-format" },
      ...listed.map(([id, { name }]) => el("option", { value: id, text: `${name}` })),
    );
    const written = () => FORMATS[chosen.value].write(this.entry.doc);
    const download = () => {
      const { suffix, type } = FORMATS[chosen.value];
      const stem =
        this.entry.name.replace(/\.[^.]{1,5}$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "transcript";
      save(written(), `${stem}.${suffix}`, type);
    };
    return el(
      "div",
      { class: "export" },
      el("label", {}, "Format ", chosen),
      button("Download", download, { id: "export-download", class: "primary" }),
      button("Copy", ({ target }) => copyShown(written(), target), { id: "export-copy" }),
    );
  }
}

function languageCode({ doc, options }) {
  if (doc.task === "translate") return "en";
  return options?.language && options.language !== "mixed" ? options.language : codeOf(doc.language);
}

function codeOf(name) {
  for (const code of [
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "pl",
    "ru",
    "uk",
    "tr",
    "ja",
    "zh",
    "ko",
    "ar",
  ]) {
    if (languages.of(code).toLowerCase() === name) return code;
  }
  return undefined;
}

export const result = () => new TranscriptView($("result"));
