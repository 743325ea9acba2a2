// What was transcribed in this browser: text and options, in its own database. No audio.

const NAME = "whisper-router";
const STORE = "transcripts";
let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => {
      request.result.onclose = () => (opened = null);
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
  opened.catch(() => (opened = null)); // another time it may work
  return opened;
}

async function within(mode, work) {
  const transaction = (await database()).transaction(STORE, mode);
  const request = work(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/** Keep an entry `{id, created, name, options, doc}`; one with this id is replaced. */
export const keep = (entry) => within("readwrite", (store) => store.put(entry));
export const forget = (id) => within("readwrite", (store) => store.delete(id));
export const forgetAll = () => within("readwrite", (store) => store.clear());

/** Return all entries, the newest first. */
export async function entries() {
  const all = await within("readonly", (store) => store.getAll());
  return all.sort((one, other) => other.created - one.created);
}
