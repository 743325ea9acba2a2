// Models: which engines run, what they take, and what may be done with them.

import { getJson, isAdmin, supports } from "./api.js";
import { $, bytes, el, empty, fieldError, showError } from "./dom.js";
import { getKey } from "./key.js";
import { Card, closeLog, fetchModel } from "./model_card.js";
import { Poll } from "./poll.js";

const EVERY_MS = 2000;
const cards = new Map();
const parts = {};
let [canPull, isSeen] = [false, false];
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

async function refresh(isWanted) {
  const key = getKey();
  if (!(await isAdmin())) throw Object.assign(forbidden(), { status: 403 });
  const told = await getJson("v1/processes");
  if (key !== getKey() || !isWanted()) return;
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
      cards.set(pool.id, new Card(pool.id, { canPull, look: () => poll.look() }));
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
    if (!parts.engines.hidden) await poll.look();
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
  isSeen = true;
  canPull = await supports("/v1/processes/{alias}/pull");
  if (isSeen) await poll.start();
}

export function hide() {
  isSeen = false;
  poll.stop();
  closeLog();
}
