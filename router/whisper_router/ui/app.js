// Tabs, key and theme. Each tab is a module of its own, loaded when it is first looked at.

import { ROOT } from "./api.js";
import { $, button, showError } from "./dom.js";
import { initKey } from "./key.js";

const TABS = {
  transcribe: () => import("./tab_transcribe.js"),
  live: () => import("./tab_live.js"),
  models: () => import("./tab_models.js"),
  activity: () => import("./tab_activity.js"),
  system: () => import("./tab_system.js"),
  api: () => import("./tab_api.js"),
};
const SKIP = "#content";
const loaded = {};
let [current, turn] = [null, 0];

const named = () => {
  const name = location.hash.slice(1);
  return name in TABS ? name : "transcribe";
};

async function select(name) {
  if (name === current) return;
  loaded[current]?.hide?.();
  current = name;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isChosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !isChosen;
    if (isChosen) {
      document.title = `${tab.textContent} · whisper-router`;
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
  await refresh();
}

async function part(name) {
  try {
    return await TABS[name]();
  } catch {
    throw new Error("This part of the page cannot be loaded: the server cannot be reached.");
  }
}

/** Show the current tab as the server has it now. What an earlier call finds after that is of no interest. */
async function refresh() {
  turn += 1;
  const [name, mine] = [current, turn];
  try {
    const tab = await part(name);
    if (!loaded[name]) {
      loaded[name] = tab; // not before: two calls may have waited for it
      tab.init?.();
    }
    if (mine === turn) await tab.show?.();
    if (mine === turn) showError($("page-error"), null);
  } catch (error) {
    if (mine !== turn || error.status === 401) return;
    showError($("page-error"), error);
    if (!$("retry")) $("page-error").append(button("Try again", refresh, { id: "retry", class: "small" }));
  }
}

/** Somebody looks again, or the device is online again: what failed may work now. */
function again() {
  if (document.visibilityState === "visible" && !$("page-error").hidden) refresh();
}

function initTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  $("tabs").addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    let next = null;
    if (event.key in steps) next = tabs[(at + steps[event.key] + tabs.length) % tabs.length];
    if (event.key === "Home") next = tabs[0];
    if (event.key === "End") next = tabs.at(-1);
    if (event.key === " ") next = tabs[at];
    if (next === null || at < 0) return;
    event.preventDefault();
    next.focus();
    location.hash = next.hash;
  });
  addEventListener("hashchange", () => {
    if (location.hash !== SKIP) select(named());
  });
  $("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names the tab, and stays
    $("content").focus();
  });
}

async function check(key) {
  const headers = { Authorization: `Bearer ${key}` };
  try {
    const answer = await fetch(new URL("v1/models", ROOT), { headers });
    if (answer.status !== 401) return null;
    return (await answer.json()).error.message;
  } catch (error) {
    return error instanceof TypeError
      ? "The key cannot be sent: the server is not reached, or it holds odd characters."
      : null;
  }
}

initKey(check);
initTabs();
document.addEventListener("key-changed", refresh);
document.addEventListener("visibilitychange", again);
addEventListener("online", again);
await select(named());
for (const name of Object.keys(TABS)) part(name).catch(() => {}); // so that they are here if the server goes
