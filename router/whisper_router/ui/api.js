// The server's API: JSON, server-sent events, uploads whose progress is true.

import { getKey, needKey } from "./key.js";

/** Where the API begins: the page lies one level below it, whatever a proxy puts before. */
export const ROOT = new URL("../", document.baseURI);
export const BASE_URL = new URL("v1", ROOT).href;

/** What the server answered, or that it is away and answers nothing. */
export class ApiError extends Error {
  constructor(message, told = {}) {
    super(message);
    const nothing = { status: 0, code: null, param: null, requestId: null, retryAfter_s: 0, isAway: false };
    Object.assign(this, nothing, told);
  }
}

function authorization() {
  const key = getKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** `key` is the one that was sent: the refusal of one that is not in use any more asks for no other. */
function refusal(status, text, header, key) {
  let told = {};
  try {
    told = JSON.parse(text).error ?? {};
  } catch {
    // not ours: a proxy's page, or nothing
  }
  if (status === 401 && key === getKey()) needKey(told.message);
  const message = told.message ?? `The server answered with status ${status}.`;
  return new ApiError(message, {
    status,
    code: told.code ?? null,
    param: told.param ?? null,
    requestId: header("x-request-id"),
    retryAfter_s: Number(header("retry-after")) || 0,
  });
}

const unreachable = () =>
  new ApiError("The server cannot be reached. Is it running, and this device online?", { isAway: true });

const brokenOff = (requestId) =>
  new ApiError("The connection to the server broke off before the transcript was whole.", {
    isAway: true,
    requestId,
  });

/** Ask for a path below the root. Throws ApiError for whatever is no success. */
export async function call(path, { method = "GET", body, headers = {}, signal } = {}) {
  const key = getKey();
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT), {
      method,
      body,
      signal,
      headers: { ...authorization(), ...headers },
      cache: "no-store",
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (!answer.ok) {
    throw refusal(answer.status, await answer.text(), (name) => answer.headers.get(name), key);
  }
  return answer;
}

export const getJson = async (path, options) => (await call(path, options)).json();
export const post = (path, options) => getJson(path, { method: "POST", ...options });

/** Cut a growing text into the JSON of its events; comments are left out. */
export class EventCutter {
  rest = "";

  push(text) {
    const parts = (this.rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.rest = parts.pop();
    return parts
      .map(dataOf)
      .filter((data) => data && data !== "[DONE]")
      .map((data) => JSON.parse(data));
  }
}

function dataOf(block) {
  const lines = block.split("\n").filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}

/** Yield the events of a path until it ends. `EventSource` could not send a key. */
export async function* events(path, options = {}) {
  const headers = { Accept: "text/event-stream", ...options.headers };
  const answer = await call(path, { ...options, headers });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const cutter = new EventCutter();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* cutter.push(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Post a form and read events as they come.
 *
 * `onUpload(sent, whole)` tells bytes, `onSent()` that all are sent, `onEvent(event)` an event,
 * `onWhole(answer)` the answer of a server that sends no events. What `onEvent` throws ends the request.
 * Resolves with the request's id.
 */
export function upload(path, form, { id, signal, onUpload, onSent, onEvent, onWhole }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const [cutter, key] = [new EventCutter(), getKey()];
    let [read, failure] = [0, null];
    request.open("POST", new URL(path, ROOT));
    request.setRequestHeader("X-Progress-ID", id);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onUpload(event.loaded, event.total);
    request.upload.onload = onSent;
    const isStream = () => (request.getResponseHeader("content-type") ?? "").startsWith("text/event-stream");
    const take = () => {
      if (failure || request.status !== 200 || !isStream()) return;
      const text = request.responseText;
      const fresh = text.slice(read);
      read = text.length;
      try {
        cutter.push(fresh).forEach(onEvent);
      } catch (error) {
        failure = error;
        reject(error);
        request.abort();
      }
    };
    request.onprogress = take;
    request.onload = () => {
      const header = (name) => request.getResponseHeader(name);
      if (request.status !== 200) reject(refusal(request.status, request.responseText, header, key));
      try {
        take();
        if (request.status === 200 && !isStream()) onWhole(JSON.parse(request.responseText));
        resolve(header("x-request-id"));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(read ? brokenOff(id) : unreachable());
    request.onabort = () => reject(new DOMException("Cancelled.", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

let described = null;

/** Tell whether this server has a path, as its own description names it. */
export async function supports(path) {
  described ??= getJson("openapi.json").then((document) => new Set(Object.keys(document.paths)));
  try {
    return (await described).has(path);
  } catch (error) {
    described = null;
    throw error;
  }
}

let admin = null;
document.addEventListener("key-changed", () => {
  admin = null;
});

/** Tell whether the key may administrate; true where nobody can know before trying. */
export async function isAdmin() {
  if (!(await supports("/v1/usage"))) return true;
  if (admin !== null) return admin;
  const key = getKey();
  const may = (await getJson("v1/usage")).scopes.includes("admin");
  if (key === getKey()) admin = may;
  return may;
}

export const fitting = (name) => name.split("/").map(encodeURIComponent).join("/");
