// The card of an engine on the tab Models: its state, what may be done with it, its log.

import { events, fitting, post } from "./api.js";
import { announce, badge, button, bytes, el, seconds, showError } from "./dom.js";

const LINES = 100;
const KINDS = { ready: "good", starting: "busy", stopping: "warn", stopped: "" };
const DOING = { Load: "loading", Unload: "unloading", Pin: "pinning", Unpin: "unpinning" };
const NEXT = { Load: "unload", Unload: "load", Pin: "unpin", Unpin: "pin", Fetch: "load" };
let logOf = null; // a browser opens few connections to a server, and each open log holds one

/** Close the log that is open, if one is. */
export const closeLog = () => logOf?.close();

/** Have the server fetch a model's file; `onProgress` is told how far it is. */
export async function fetchModel(alias, onProgress) {
  for await (const told of events(`v1/processes/${fitting(alias)}/pull`, { method: "POST" })) {
    if (told.type === "progress") onProgress(told);
    if (told.type === "error") throw Object.assign(new Error(told.error.message), { code: told.error.code });
  }
  announce(`${alias} is here.`);
}

/** One engine: what it does, and the buttons for it. */
export class Card {
  #following = null;
  #busy = null;
  #failure = null;

  /** `canPull`: files may be fetched; `look` asks the server how engines are, now. */
  constructor(alias, { canPull, look }) {
    this.alias = alias;
    this.canPull = canPull;
    this.look = look;
    this.state = el("span");
    this.facts = el("div", { class: "model-facts number" });
    this.progress = el("progress", { max: 100, hidden: true, "aria-label": `Download of ${alias}` });
    this.error = el("div", { class: "alert", role: "alert", hidden: true });
    this.log = el("pre", {
      class: "log",
      tabindex: "0",
      role: "log",
      "aria-label": `Output of ${alias}`,
      hidden: true,
    });
    const action = (name, path = name.toLowerCase()) =>
      button(name, () => this.act(name, path), { class: "small", "aria-label": `${name} ${alias}` });
    this.load = action("Load");
    this.unload = action("Unload");
    this.pin = action("Pin");
    this.unpin = action("Unpin");
    this.pull = button("Fetch", () => this.fetchFile(), {
      class: "small",
      hidden: true,
      "aria-label": `Fetch ${alias}`,
    });
    this.tail = button("Log", () => this.toggleLog(), {
      class: "small quiet",
      "aria-expanded": "false",
      "aria-label": `Log of ${alias}`,
    });
    this.row = el(
      "div",
      { class: "model", dataset: { alias } },
      el(
        "div",
        { class: "row between" },
        el("div", { class: "row" }, el("h3", { text: alias }), this.state),
        el("div", { class: "row" }, this.load, this.unload, this.pin, this.unpin, this.pull, this.tail),
      ),
      this.facts,
      this.progress,
      this.error,
      this.log,
    );
  }

  update(pool) {
    const word = this.#busy ?? pool.state;
    this.state.replaceChildren(
      badge(word, this.#busy ? "busy" : (KINDS[pool.state] ?? "warn")),
      " ",
      ...(pool.pinned ? [badge("pinned", "busy")] : []),
      ...(pool.breaker !== "closed" ? [badge("left alone: it does not start", "bad")] : []),
    );
    const { requested, in_effect: effect } = pool.acceleration;
    const unloads = pool.unloads_in_seconds;
    this.facts.replaceChildren(
      ...[
        `engine ${pool.engine}`,
        effect ? `on ${effect}` : requested && `wants ${requested}`,
        (pool.memory_bytes ?? pool.rss_bytes) ? `memory ${bytes(pool.memory_bytes || pool.rss_bytes)}` : null,
        pool.capacity && pool.state === "ready" && `${pool.leases} of ${pool.capacity} workers busy`,
        pool.waiting ? `${pool.waiting} chunks wait` : null,
        unloads !== null && unloads !== undefined && pool.state === "ready"
          ? `unloads in ${seconds(unloads)}`
          : null,
        pool.crashes ? `${pool.crashes} crashes` : null,
        pool.model_present === false ? "file not here" : null,
      ]
        .filter(Boolean)
        .map((text) => el("span", { text })),
    );
    this.load.hidden = pool.state !== "stopped" || pool.engine === "upstream";
    this.unload.hidden = pool.state === "stopped" || pool.engine === "upstream";
    this.pin.hidden = pool.pinned || pool.engine === "upstream";
    this.unpin.hidden = !pool.pinned;
    this.pull.hidden = !this.canPull || pool.model_present !== false;
    if (pool.download) this.showDownload(pool.download);
    else if (this.#busy !== "fetching") this.progress.hidden = true;
    this.allow(this.#busy === null);
    const problem = this.#failure ?? (pool.last_error && new Error(pool.last_error));
    if (!this.#busy) showError(this.error, problem || null);
  }

  /** One thing at a time: the server may hear of two in any order. */
  allow(isAllowed) {
    for (const name of ["load", "unload", "pin", "unpin", "pull"]) this[name].disabled = !isAllowed;
  }

  showDownload({ downloaded_bytes: done, total_bytes: whole }) {
    this.progress.hidden = false;
    if (whole) this.progress.value = (100 * done) / whole;
    else this.progress.removeAttribute("value");
    this.facts.append(el("span", { text: `${bytes(done)}${whole ? ` of ${bytes(whole)}` : ""}` }));
  }

  async act(name, path) {
    await this.during(name, `${DOING[name]} …`, async () => {
      await post(`v1/processes/${fitting(this.alias)}/${path}`);
      announce(`${this.alias}: ${name.toLowerCase()} is done.`);
    });
  }

  async fetchFile() {
    await this.during("Fetch", "fetching", () => fetchModel(this.alias, (told) => this.showDownload(told)));
  }

  async during(name, word, work) {
    const hadFocus = this.row.contains(document.activeElement);
    this.#busy = word;
    this.#failure = null;
    this.allow(false);
    showError(this.error, null);
    this.state.replaceChildren(badge(word, "busy"));
    try {
      await work();
    } catch (error) {
      this.#failure = error;
    }
    this.#busy = null;
    if (!this.row.isConnected) return;
    await this.look();
    if (hadFocus) this.takeFocus(name);
  }

  /** A button that is done with is hidden, and would let the focus fall. */
  takeFocus(name) {
    if (document.activeElement !== document.body) return;
    const places = [this[NEXT[name]], this[name === "Fetch" ? "pull" : name.toLowerCase()], this.tail];
    places.find((place) => !place.hidden && !place.disabled).focus();
  }

  toggleLog() {
    if (logOf === this) {
      this.close();
      return;
    }
    logOf?.close();
    logOf = this;
    this.#following = new AbortController();
    this.tail.setAttribute("aria-expanded", "true");
    this.log.hidden = false;
    this.follow(this.#following.signal);
  }

  async follow(signal) {
    const lines = [];
    this.log.textContent = "Nothing was printed yet.";
    try {
      for await (const { line } of events(`v1/processes/${fitting(this.alias)}/logs?lines=${LINES}`, {
        signal,
      })) {
        if (signal.aborted) return; // it may have been opened anew
        lines.push(line);
        if (lines.length > LINES) lines.shift();
        this.log.textContent = lines.join("\n");
        this.log.scrollTop = this.log.scrollHeight;
      }
    } catch (error) {
      if (error.name !== "AbortError") showError(this.error, error);
    }
  }

  close() {
    if (logOf === this) logOf = null;
    this.#following?.abort();
    this.#following = null;
    this.log.hidden = true;
    this.tail.setAttribute("aria-expanded", "false");
  }

  leave() {
    this.close();
    this.row.remove();
  }
}
