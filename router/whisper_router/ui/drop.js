// Files dropped anywhere on the page are taken: a browser would leave the page and show them.

let [take, held] = [null, []];

const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");

const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory ?? false;

/** `taken(files, hasFolders)` is given what was dropped so far, and from now on; folders are left out. */
export function onDropped(taken) {
  take = taken;
  if (held.length) take(held, false);
  held = [];
}

addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  const items = [...event.dataTransfer.items].filter(({ kind }) => kind === "file");
  const files = items.filter((item) => !isFolder(item)).map((item) => item.getAsFile());
  if (take) take(files, files.length < items.length);
  else held.push(...files);
  location.hash = "transcribe";
});
