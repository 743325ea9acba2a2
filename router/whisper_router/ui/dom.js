// Elements, and numbers as people read them. Data becomes text, never markup.

export const $ = (id) => document.getElementById(id);

/** Make an element: `on*` are listeners, `class`, `text` and `dataset` what they say, the rest attributes. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else if (name === "class") made.className = value;
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Tell people who hear the page. */
export function announce(text) {
  $("announcer").textContent = text;
}

/**
 * Show a failure where it happened; `place` has the role `alert`.
 *
 * One that is already shown is left alone, or whoever hears the page would hear it again and again.
 */
export function showError(place, error) {
  const told = error ? JSON.stringify([error.message || String(error), error.code, error.status]) : "";
  if ((place.dataset.told ?? "") === told) return;
  place.dataset.told = told;
  if (!error) {
    place.hidden = true;
    place.replaceChildren();
    return;
  }
  const facts = [
    typeof error.code === "string" && `code ${error.code}`,
    error.status && `status ${error.status}`,
    error.requestId && `request ${error.requestId}`,
  ].filter(Boolean);
  place.replaceChildren(el("p", { text: error.message || String(error) }));
  if (facts.length) place.append(el("p", { class: "facts", text: facts.join(" · ") }));
  place.hidden = false;
}

/** Show what is wrong with a field, in `place`, so that who hears the page is told with the field. */
export function fieldError(field, place, error) {
  showError(place, error);
  mark(field, place, error !== null);
}

/** Mark a field as wrong, or as right again, described by the failure in `place`. */
export function mark(field, place, isWrong) {
  const described = new Set((field.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  if (isWrong) described.add(place.id);
  else described.delete(place.id);
  if (described.size) field.setAttribute("aria-describedby", [...described].join(" "));
  else field.removeAttribute("aria-describedby");
  if (isWrong) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** Do something that may take away what has the focus in `place`; then the first of `next()` that is seen has it. */
export function keepingFocus(place, work, next) {
  const had = place.contains(document.activeElement) ? document.activeElement : null;
  work();
  if (had && !had.checkVisibility())
    next()
      .find((one) => one?.isConnected && one.checkVisibility())
      ?.focus();
}

const isAlike = (shown, fresh) =>
  shown !== null && shown.nodeName === fresh.nodeName && shown.dataset?.key === fresh.dataset?.key;

/**
 * Make the content of `shown` that of `fresh`, and keep every element that is already there.
 *
 * So focus, chosen values and places scrolled to stay. What has a `data-key` is found by it again;
 * whatever listens needs one (or a parent with one), since a kept element keeps its own listeners.
 */
export function update(shown, fresh) {
  const keys = new Set([...fresh.children].map((child) => child.dataset?.key));
  const kept = new Map();
  for (const child of [...shown.children]) {
    const key = child.dataset?.key;
    if (key === undefined) continue;
    if (keys.has(key)) kept.set(key, child);
    else child.remove();
  }
  let at = shown.firstChild;
  for (const next of [...fresh.childNodes]) {
    const old = kept.get(next.dataset?.key) ?? at;
    if (isAlike(old, next)) {
      if (old !== at) shown.insertBefore(old, at);
      take(old, next);
      at = old.nextSibling;
    } else shown.insertBefore(next, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function take(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const name of old.getAttributeNames()) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const name of next.getAttributeNames()) {
    const value = next.getAttribute(name);
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  update(old, next);
}

/** A small filled label. */
export const badge = (text, kind = "") => el("span", { class: `badge ${kind}`, text });

/** A button. The second click of a double click is not for it: it may be where another was at the first. */
export function button(text, onclick, properties = {}) {
  const once = onclick && ((event) => event.detail <= 1 && onclick(event));
  return el("button", { type: "button", text, onclick: once, ...properties });
}

/** A table in a frame of its own, which scrolls where the screen is narrow. `keys` name the rows. */
export function table(caption, heads, rows, keys = []) {
  const cells = (row) => row.map((cell) => el("td", {}, cell ?? ""));
  const body = rows.map((row, index) => el("tr", { "data-key": keys[index] }, ...cells(row)));
  return el(
    "div",
    { class: "scroller", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", { class: "unseen", text: caption }),
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col", text: head })))),
      el("tbody", {}, ...body),
    ),
  );
}

export function empty(text) {
  return el("p", { class: "empty", text });
}

/** Names and values, one under the other. */
export function facts(pairs) {
  const rows = pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", {}, value)));
  return el("dl", { class: "facts-list" }, ...rows);
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [value, unit] = [count, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `3 s`, `2 min 5 s`, `1 h 4 min`. */
export function seconds(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  if (value < 60) return `${value.toFixed(value < 10 ? Math.max(digits, 1) : digits)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** `1:02.3`: a place in a recording. */
export function clock(value) {
  const tenths = Math.max(0, Math.round(value * 10));
  const [minutes, rest] = [Math.floor(tenths / 600), tenths % 600];
  const hours = Math.floor(minutes / 60);
  const lead = hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}` : String(minutes);
  return `${lead}:${(rest / 10).toFixed(1).padStart(4, "0")}`;
}

export function time(unix) {
  return new Date(unix * 1000).toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
}

/** The time alone today, and with its date on any other day. */
export function when(unix) {
  const date = new Date(unix * 1000);
  if (date.toDateString() === new Date().toDateString()) return time(unix);
  return `${date.toLocaleDateString([], { dateStyle: "medium" })}, ${time(unix)}`;
}

export function day(ms) {
  return new Date(ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** Have the browser save a text under a name. */
export function save(text, name, type = "text/plain") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Copy, also where there is no secure context and so no clipboard of its own. */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
  } else {
    const hadFocus = document.activeElement;
    const area = el("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    hadFocus?.focus();
  }
  announce("Copied.");
}
