// The key: in this tab's session storage and nowhere else, never in an address.

import { $, announce, mark } from "./dom.js";

const NAME = "whisper-router-key";
let [held, refused, attempt] = [null, null, 0];

export function getKey() {
  try {
    return held ?? sessionStorage.getItem(NAME);
  } catch {
    return held;
  }
}

function keep(key) {
  [held, refused] = [key, null];
  try {
    if (key) sessionStorage.setItem(NAME, key);
    else sessionStorage.removeItem(NAME);
  } catch {
    // storage is switched off: it is known until the page is closed
  }
  showState();
  document.dispatchEvent(new CustomEvent("key-changed"));
}

function showState() {
  const key = getKey();
  $("key-state").textContent = !key ? "Set key" : key === refused ? "Key: refused" : "Key: set";
  $("key-forget").hidden = !getKey();
}

/** Ask for a key, because the server did. */
export function needKey(message) {
  refused = getKey();
  showState();
  open(message ?? "This server asks for a key.");
}

function open(problem) {
  const place = $("key-problem");
  place.textContent = problem ?? "";
  place.hidden = !problem;
  mark($("key-input"), place, Boolean(problem));
  if (!$("key-dialog").open) {
    $("key-input").value = "";
    $("key-dialog").showModal();
  }
}

/** `check(key)` resolves with the sentence that refuses a key, or null. */
export function initKey(check) {
  showState();
  $("key-button").addEventListener("click", () => open());
  $("key-dialog").addEventListener("close", () => {
    $("key-input").value = "";
    attempt += 1;
  });
  $("key-cancel").addEventListener("click", () => $("key-dialog").close());
  $("key-forget").addEventListener("click", () => {
    keep(null);
    $("key-dialog").close();
    announce("The key is forgotten.");
  });
  $("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = $("key-input").value.trim();
    if (!key) return;
    attempt += 1;
    const mine = attempt;
    const problem = await check(key);
    if (mine !== attempt) return; // somebody has tried another since, or does not want to any more
    if (problem) {
      open(problem);
      $("key-input").focus();
      return;
    }
    $("key-dialog").close();
    keep(key);
    announce("The key is set.");
  });
}
