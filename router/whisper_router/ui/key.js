// The key: in this tab's session storage and nowhere else, never in an address.

import { $, announce } from "./dom.js";

const NAME = "whisper-router-key";
let held = null;

export function getKey() {
  try {
    return held ?? sessionStorage.getItem(NAME);
  } catch {
    return held;
  }
}

function keep(key) {
  held = key;
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
  $("key-state").textContent = getKey() ? "Key: set" : "Set key";
  $("key-forget").hidden = !getKey();
}

/** Ask for a key, because the server did. */
export function needKey(message) {
  open(message ?? "This server asks for a key.");
}

function open(problem) {
  const place = $("key-problem");
  place.textContent = problem ?? "";
  place.hidden = !problem;
  if (!$("key-dialog").open) {
    $("key-input").value = "";
    $("key-dialog").showModal();
  }
}

/** `check(key)` resolves with the sentence that refuses a key, or null. */
export function initKey(check) {
  showState();
  $("key-button").addEventListener("click", () => open());
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
    const problem = await check(key);
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
