// Models: which engines run, what they take, and what may be done with them.

import { events, fitting, getJson, isAdmin, post, supports } from "./api.js";
import { $, announce, badge, button, bytes, el, empty, fieldError, seconds, showError } from "./dom.js";
import { getKey } from "./key.js";
import { Poll } from "./poll.js";

const EVERY_MS = 2000;
const LINES = 100;
const KINDS = { ready: "good", starting: "busy", stopping: "warn", stopped: "" };
const DOING = { Load: "loading", Unload: "unloading", Pin: "pinning", Unpin: "unpinning" };
const NEXT = { Load: "unload", Unload: "load", Pin: "unpin", Unpin: "pin", Fetch: "load" };
const cards = new Map();
const parts = {};
let canPull = false;
let logOf = null; // a browser opens few connections to a server, and each open log holds one
const poll = new Poll(refresh, EVERY_MS, (error) => {
  if (error?.status === 403) clear();
  showError(parts.problem, error?.status === 403 ? forbidden() : error);
});

const forbidden = () =>
  new Error("Only an administrator's key may see engines. Their models can be used all the same.");

/** What one key may see is not for the next. */
function clear() {
  for (const card of cards.values()) card.leave();
  cards.clear();
  parts.summary.replaceChildren();
  $("pull-state").textContent = "";
  for (const place of [parts.problem, $("pull-error")]) showError(place, null);
  parts.memory.hidden = parts.engines.hidden = parts.others.hidden = true;
}

async function refresh() {
  const key = getKey();
  if (!(await isAdmin())) throw Object.assign(forbidden(), { status: 403 });
  const told = await getJson("v1/processes");
  if (key !== getKey()) return;
  parts.memory.hidden = parts.engines.hidden = false;
  parts.others.hidden = !canPull;
  parts.nothing.hidden = told.data.length > 0;
  showMemory(told);
  for (const [alias, card] of cards) {
    if (!told.data.some(({ id }) => id === alias)) {
      card.leave();
      cards.delete(alias);
    }
  }
  for (const pool of told.data) {
    if (!cards.has(pool.id)) {
      cards.set(pool.id, new Card(pool.id));
      parts.list.append(cards.get(pool.id).row);
    }
    cards.get(pool.id).update(pool);
  }
}

function bar(name, used, budget) {
  const words = budget ? `${bytes(used)} of ${bytes(budget)}` : `${bytes(used)}, no limit`;
  const share = budget ? Math.min(1, used / budget) : 0;
  return el(
    "div",
    { class: "meterbar" },
    el(
      "div",
      { class: "row between" },
      el("strong", { text: name }),
      el("span", { class: "number", text: words }),
    ),
    el("meter", { min: 0, max: 1, high: 0.9, value: share, "aria-label": `${name}: ${words}` }),
  );
}

function showMemory({ data, memory }) {
  if (!memory) {
    // a server that tells no budget
    const used = data.reduce((sum, pool) => sum + pool.rss_bytes, 0);
    parts.summary.replaceChildren(el("p", {}, `Engines take ${bytes(used)} of memory now.`));
    return;
  }
  const { budget_bytes: budget, used_bytes: used, gpus = [] } = memory;
  parts.summary.replaceChildren(
    bar("Memory of engines", used, budget),
    ...gpus.map((gpu) => bar(`GPU ${gpu.index} (${gpu.name})`, gpu.used_bytes, gpu.budget_bytes)),
  );
}

class Card {
  #following = null;
  #busy = null;
  #failure = null;

  constructor(alias) {
    this.alias = alias;
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
    this.pull.hidden = !canPull || pool.model_present !== false;
    if (pool.download) this.showDownload(pool.download);
    else if (this.#busy !== "fetching") this.progress.hidden = true;
    for (const name of ["load", "unload", "pin", "unpin", "pull"]) this[name].disabled = this.#busy !== null;
    const problem = this.#failure ?? (pool.last_error && new Error(pool.last_error));
    if (!this.#busy) showError(this.error, problem || null);
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
    showError(this.error, null);
    this.state.replaceChildren(badge(word, "busy"));
    try {
      await work();
    } catch (error) {
      this.#failure = error;
    }
    this.#busy = null;
    if (!this.row.isConnected) return;
    await poll.start();
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

async function fetchModel(alias, onProgress) {
  for await (const told of events(`v1/processes/${fitting(alias)}/pull`, { method: "POST" })) {
    if (told.type === "progress") onProgress(told);
    if (told.type === "error") throw Object.assign(new Error(told.error.message), { code: told.error.code });
  }
  announce(`${alias} is here.`);
}

async function fetchNamed(event) {
  event.preventDefault();
  const [name, place, start] = [$("pull-name").value.trim(), $("pull-state"), $("pull-start")];
  if (start.disabled) return;
  const [key, hadFocus] = [getKey(), document.activeElement === start];
  const tell = (text) => {
    if (key === getKey()) place.textContent = text;
  };
  start.disabled = true;
  fieldError($("pull-name"), $("pull-error"), null);
  try {
    await fetchModel(name, ({ downloaded_bytes: done, total_bytes: whole }) =>
      tell(`${name}: ${bytes(done)}${whole ? ` of ${bytes(whole)}` : ""}`),
    );
    tell(`${name} is here.`);
    if (!parts.engines.hidden) await poll.start();
  } catch (error) {
    tell("");
    if (key === getKey()) fieldError($("pull-name"), $("pull-error"), error);
  }
  start.disabled = false;
  if (hadFocus && document.activeElement === document.body) start.focus();
}

function fetchForm() {
  return el(
    "div",
    { class: "card", hidden: true },
    el("h2", { text: "Fetch a model" }),
    el(
      "form",
      { class: "row low", onsubmit: fetchNamed },
      el(
        "label",
        { class: "grow" },
        "Name in the catalogue",
        el("input", { id: "pull-name", required: true, placeholder: "small", autocomplete: "off" }),
      ),
      el("button", { type: "submit", id: "pull-start", text: "Fetch" }),
    ),
    el("p", { class: "help number", id: "pull-state", role: "status" }),
    el("div", { class: "alert", role: "alert", id: "pull-error", hidden: true }),
  );
}

export function init() {
  const card = (title, ...inside) =>
    el("div", { class: "card", hidden: true }, el("h2", { text: title }), ...inside);
  parts.problem = el("div", { class: "alert notice", role: "alert", hidden: true });
  parts.summary = el("div", { class: "meters" });
  parts.memory = card("Memory", parts.summary);
  parts.nothing = empty("No engine was used yet.");
  parts.list = el("div");
  parts.engines = card("Engines", parts.nothing, parts.list);
  parts.others = fetchForm();
  $("models-body").append(parts.problem, parts.memory, parts.engines, parts.others);
  document.addEventListener("key-changed", clear);
}

export async function show() {
  canPull = await supports("/v1/processes/{alias}/pull");
  await poll.start();
}

export function hide() {
  poll.stop();
  logOf?.close();
}
