// What was transcribed in this browser: text and options, in its own database. No audio.
//
// What a list shows of an entry is kept beside it: hours of text need not be read for their first words.

const NAME = "whisper-router";
const STORE = "transcripts";
const LISTED = "listed";
const SHOWN_LETTERS = 160;
const others = globalThis.BroadcastChannel ? new BroadcastChannel(NAME) : null;
let opened = null;

const summary = ({ id, created, name, options, doc }) => ({
  id,
  created,
  name,
  model: options.model,
  start: doc.text.slice(0, SHOWN_LETTERS),
  duration: doc.duration,
  language: doc.language,
});

function upgrade(request) {
  const { result, transaction } = request;
  const listed = result.createObjectStore(LISTED, { keyPath: "id" });
  if (!result.objectStoreNames.contains(STORE)) {
    result.createObjectStore(STORE, { keyPath: "id" });
    return;
  }
  transaction.objectStore(STORE).openCursor().onsuccess = ({ target: { result: cursor } }) => {
    if (!cursor) return;
    listed.put(summary(cursor.value));
    cursor.continue();
  };
}

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 2);
    request.onupgradeneeded = () => upgrade(request);
    request.onsuccess = () => {
      request.result.onclose = () => (opened = null);
      request.result.onversionchange = () => request.result.close(); // of a newer page in another tab
      resolve(request.result);
    };
    request.onblocked = () => reject(new Error("close the other tabs with this page, which are older"));
    request.onerror = () => reject(request.error);
  });
  opened.catch(() => (opened = null)); // another time it may work
  return opened;
}

async function within(mode, work) {
  const transaction = (await database()).transaction([STORE, LISTED], mode);
  const request = work(transaction.objectStore(STORE), transaction.objectStore(LISTED));
  transaction.commit(); // also when the page is just being left
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

async function change(told, work) {
  await within("readwrite", work);
  others?.postMessage(told);
}

/** Keep an entry `{id, created, name, options, doc}`; one with this id is replaced. */
export const keep = (entry) =>
  change({ kept: entry.id }, (store, listed) => {
    store.put({ ...entry, doc: JSON.stringify(entry.doc) }); // a browser copies text five times as fast
    return listed.put(summary(entry));
  });

/** Forget entries by their ids. */
export const forget = (ids) =>
  change({ forgotten: ids }, (store, listed) => {
    for (const id of ids) store.delete(id);
    return ids.map((id) => listed.delete(id)).at(-1) ?? listed.count();
  });

/** Return what a list shows of all entries, the newest first. */
export async function entries() {
  const all = await within("readonly", (_, listed) => listed.getAll());
  return all.sort((one, other) => other.created - one.created);
}

/** Return an entry as it is kept; undefined: it is gone. */
export async function entryOf(id) {
  const entry = await within("readonly", (store) => store.get(id));
  return entry && { ...entry, doc: typeof entry.doc === "string" ? JSON.parse(entry.doc) : entry.doc };
}

/** `told({kept, forgotten})` is called when another tab has kept an entry or forgotten some. */
export const onOthers = (told) => others?.addEventListener("message", ({ data }) => told(data));
