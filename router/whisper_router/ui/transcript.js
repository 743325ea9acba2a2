// A finished transcript: heard and read together, corrected, saved in every format.

import { languageCode } from "./choices.js";
import { announce, badge, button, el, seconds } from "./dom.js";
import { exports } from "./exports.js";
import { SegmentList } from "./segments.js";

export class TranscriptView {
  #address = null;
  #frame = 0;
  #list = null;

  constructor(place) {
    this.place = place;
  }

  /** Show an entry of the history; `file` is its audio, if it is at hand. */
  show(entry, { file, onChange }) {
    this.close();
    Object.assign(this, { entry, file });
    const { doc, name } = entry;
    const about = [
      badge(doc.language === "unknown" ? "language unknown" : doc.language, "busy"),
      doc.duration ? badge(seconds(doc.duration, 1)) : null,
      doc.task === "translate" ? badge("translated") : null,
      doc.holes ? badge(`${doc.holes.length} holes`, "warn") : null,
    ];
    this.player = el("div", {});
    this.place.replaceChildren(
      el(
        "div",
        { class: "row between" },
        el("h2", { class: "result-name", dir: "auto", text: name, tabindex: "-1", id: "result-title" }),
        el(
          "div",
          { class: "row" },
          ...about.filter(Boolean),
          button("Close", () => this.hide(), { class: "quiet small" }),
        ),
      ),
      exports(entry),
      this.player,
      ...this.#segments(() => onChange?.(entry)),
    );
    this.#play(file);
    this.place.hidden = false;
  }

  hide() {
    this.close();
    this.place.hidden = true;
  }

  close() {
    this.#silence();
    this.#list?.close();
    this.entry = this.file = this.#list = null;
    this.place.replaceChildren();
  }

  #silence() {
    cancelAnimationFrame(this.#frame);
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = this.audio = null;
  }

  #play(file) {
    this.#silence();
    this.#list?.allowSeeking(Boolean(file));
    if (!file) {
      this.player.className = "row";
      this.player.replaceChildren(...this.#withoutAudio());
      return;
    }
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
    this.player.className = "player";
    this.player.replaceChildren(this.audio);
  }

  /** The history keeps no audio, but who has the file may listen to it again. */
  #withoutAudio() {
    const input = el("input", { type: "file", id: "result-file", hidden: true, "aria-label": "The audio" });
    input.addEventListener("change", () => {
      this.file = input.files[0] ?? null;
      this.#play(this.file);
      this.audio?.focus();
    });
    return [
      el("p", { class: "help", text: "The audio is not at hand: text and times only." }),
      button("Choose its file", () => input.click(), { class: "small" }),
      input,
    ];
  }

  #segments(onEdit) {
    if (!this.entry.doc.segments.length)
      return [el("p", { class: "empty", text: "Nobody speaks in this recording." })];
    this.#list = new SegmentList(this.entry, {
      language: languageCode(this.entry),
      onSeek: (at, how) => this.#seek(at, how),
      onEdit,
    });
    const help = el("p", {
      class: "help",
      id: "segments-help",
      text: "Correct the text where it stands. Enter goes to the next row, arrow keys go up and down.",
    });
    return [help, this.#list.element];
  }

  #seek(at, { play }) {
    if (!this.audio) return;
    this.audio.currentTime = at;
    if (play)
      this.audio.play().catch((error) => announce(`The recording cannot be played: ${error.message}`));
  }

  #mark() {
    if (this.audio) this.#list?.mark(this.audio.currentTime, { isPlaying: !this.audio.paused });
  }
}
