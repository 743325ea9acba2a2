// Files dropped anywhere on the page are taken: a browser would leave the page and show them.

let [take, held] = [null, []];

const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");

/** `taken(files)` is given what was dropped so far, and from now on. */
export function onDropped(taken) {
  take = taken;
  take(held);
  held = [];
}

addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  const files = [...event.dataTransfer.files];
  if (take) take(files);
  else held.push(...files);
  location.hash = "transcribe";
});
