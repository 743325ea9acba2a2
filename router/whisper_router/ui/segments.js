// The text of a transcript, row by row: times, words, corrections. Hours have thousands of rows, so they are
// drawn in turns, and words are told apart only in rows that are seen.

import { button, clock, el } from "./dom.js";
import { edited } from "./formats.js";
import { wordsBySegment } from "./shaping.js";

const FIRST = 60;
const TURN_MS = 20;
const NEAR_PX = 300;
const LEFT_ALONE_MS = 5000;
const EDITABLE = (() => {
  const probe = el("div", { contenteditable: "plaintext-only" });
  return probe.contentEditable === "plaintext-only" ? "plaintext-only" : "true";
})();

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

export class SegmentList {
  #drawn = 0;
  #current = 0;
  #marked = [];
  #timer = 0;
  #touched = -Infinity;

  /** `onSeek(at, {play})` goes to a time, `onEdit()` is called after a correction. */
  constructor(entry, { language, onSeek, onEdit }) {
    Object.assign(this, { entry, language, onSeek, onEdit });
    const own = wordsBySegment(entry.doc);
    this.parts = entry.doc.segments.map((segment, index) => ({ segment, words: own[index] }));
    this.element = el("ol", {
      class: "segments",
      "aria-label": "Segments",
      "aria-describedby": "segments-help",
      onkeydown: (event) => this.#key(event),
      onfocusin: ({ target }) => this.#enter(target),
      oninput: ({ target }) => this.#edit(this.#indexOf(target)),
      onclick: ({ target }) => this.#click(target),
    });
    for (const name of ["wheel", "touchmove", "pointerdown", "keydown"])
      this.element.addEventListener(name, () => (this.#touched = performance.now()), { passive: true });
    this.#seen = new IntersectionObserver((found) => this.#see(found), {
      root: this.element,
      rootMargin: `${NEAR_PX}px`,
    });
    this.#drawTo(FIRST);
    this.#continue();
  }

  #seen;

  close() {
    clearTimeout(this.#timer);
    this.#seen.disconnect();
  }

  /** Whether there is audio to go to. */
  allowSeeking(isAllowed) {
    this.canSeek = isAllowed;
    for (const seek of this.element.querySelectorAll(".seek")) seek.disabled = !isAllowed;
  }

  #continue() {
    if (this.#drawn >= this.parts.length) return;
    this.#timer = setTimeout(() => {
      const until = performance.now() + TURN_MS;
      while (performance.now() < until && this.#drawn < this.parts.length) this.#drawTo(this.#drawn + 20);
      this.#continue();
    });
  }

  #drawTo(count) {
    const rows = [];
    for (; this.#drawn < Math.min(count, this.parts.length); this.#drawn += 1)
      rows.push(this.#row(this.parts[this.#drawn], this.#drawn));
    this.element.append(...rows);
    for (const row of rows) this.#seen.observe(row);
  }

  #row(part, index) {
    const { segment } = part;
    const tabindex = index === this.#current ? 0 : -1;
    part.said = el("div", {
      class: "said",
      role: "textbox",
      "aria-multiline": "false",
      "aria-label": `Text of segment ${index + 1}`,
      contenteditable: EDITABLE,
      spellcheck: "false",
      dir: "auto",
      tabindex,
      lang: this.language,
      text: segment.text.trim(),
    });
    const seek = () =>
      button(clock(segment.start), null, {
        class: "seek",
        "aria-label": `Play from ${clock(segment.start)}`,
        tabindex,
        disabled: !this.canSeek,
      });
    part.row = el(
      "li",
      { class: "segment", dataset: { index } },
      this.entry.doc.untimed ? el("span") : seek(),
      part.said,
      segment.speaker === undefined
        ? null
        : el("span", { class: "speaker", dir: "auto", text: segment.speaker }),
    );
    return part.row;
  }

  #indexOf(target) {
    return Number(target.closest(".segment")?.dataset.index ?? -1);
  }

  #see(found) {
    for (const { target, isIntersecting } of found) {
      if (!isIntersecting) continue;
      this.#seen.unobserve(target);
      this.#tellApart(this.parts[this.#indexOf(target)]);
    }
  }

  /** Give each word an element, once; what somebody writes in is left alone. */
  #tellApart(part) {
    if (part.spans || part.original || !part.words.length || part.said.contains(document.activeElement))
      return;
    part.spans = [];
    const cut = pieces(part.segment.text.trim(), part.words).map(({ text, word }) => {
      if (!word) return text;
      const { start, end } = word;
      const span = el("span", { text, dataset: { start, end } });
      part.spans.push({ span, start, end });
      return span;
    });
    part.said.replaceChildren(...cut);
  }

  #click(target) {
    const index = this.#indexOf(target);
    if (target.matches(".seek")) this.onSeek(this.parts[index].segment.start, { play: true });
    else if (target.dataset.start) this.onSeek(Number(target.dataset.start), { play: false });
  }

  /** The row that has the focus is the one that Tab comes back to. */
  #enter(target) {
    const index = this.#indexOf(target);
    if (index < 0 || index === this.#current) return;
    for (const [at, tabIndex] of [
      [this.#current, -1],
      [index, 0],
    ])
      for (const stop of this.parts[at].row?.querySelectorAll(".seek, .said") ?? []) stop.tabIndex = tabIndex;
    this.#current = index;
  }

  #key(event) {
    const { key, target, shiftKey } = event;
    const isText = target.matches(".said");
    const index = this.#indexOf(target);
    let to = null;
    if (isText && key === "Enter" && !event.isComposing) to = index + (shiftKey ? -1 : 1);
    else if (event.altKey || event.ctrlKey || event.metaKey || shiftKey) return;
    else if (key === "ArrowUp" && (!isText || isAtEdge(target, "top"))) to = index - 1;
    else if (key === "ArrowDown" && (!isText || isAtEdge(target, "bottom"))) to = index + 1;
    else if (!isText && key === "Home") to = 0;
    else if (!isText && key === "End") to = this.parts.length - 1;
    if (to === null || index < 0) return;
    event.preventDefault();
    if (to < 0 || to >= this.parts.length) return;
    this.#drawTo(to + 1);
    this.parts[to].row.querySelector(isText ? ".said" : ".seek").focus();
  }

  /** Mark what is heard now; it is called for every picture, so only what changes is touched. */
  mark(now, { isPlaying }) {
    const index = lastBegun(this.parts, now);
    const part = this.parts[index];
    const heard = [];
    if (part && now < part.segment.end) {
      this.#drawTo(index + 1);
      this.#tellApart(part);
      heard.push(part.row);
    }
    for (const { span, start, end } of part?.spans ?? []) if (start <= now && now < end) heard.push(span);
    for (const old of this.#marked) if (!heard.includes(old)) old.classList.remove("now");
    for (const fresh of heard) if (!this.#marked.includes(fresh)) fresh.classList.add("now");
    if (isPlaying && heard.length && heard[0] !== this.#marked[0]) this.#follow(heard[0]);
    this.#marked = heard;
  }

  /** Keep what is heard in sight, but do not pull the text from under somebody's eyes. */
  #follow(row) {
    if (performance.now() - this.#touched < LEFT_ALONE_MS) return;
    const [frame, place] = [this.element.getBoundingClientRect(), row.getBoundingClientRect()];
    if (place.top < frame.top || place.bottom > frame.bottom)
      this.element.scrollTop += place.top - frame.top - this.element.clientHeight / 4;
  }

  #edit(index) {
    const part = this.parts[index];
    if (!part) return;
    part.original ??= { words: part.words };
    Object.assign(part, edited(part.segment, part.original.words, part.said.textContent));
    part.said.classList.add("edited");
    const { doc } = this.entry;
    doc.segments = this.parts.map(({ segment }) => segment);
    if (doc.words) doc.words = this.parts.flatMap(({ words }) => words);
    doc.text = doc.segments
      .map(({ text }) => text)
      .join("")
      .trim();
    this.onEdit();
  }
}

/** Tell whether the caret is in the first or last line of a text, so that the next key leaves it. */
function isAtEdge(text, side) {
  const selection = getSelection();
  if (!selection.rangeCount) return true;
  const caret = selection.getRangeAt(0).getClientRects()[0];
  if (!caret) return true; // the text is empty
  const box = text.getBoundingClientRect();
  const height = caret.height || 1;
  return side === "top" ? caret.top - box.top < height : box.bottom - caret.bottom < height;
}
