// API: what to write in other programs so that they use this server.

import { BASE_URL, ROOT, getJson, isAdmin } from "./api.js";
import { fillModels, models } from "./choices.js";
import { copyShown } from "./copying.js";
import { $, button, el, update } from "./dom.js";
import { getKey } from "./key.js";
import { snippets } from "./snippets.js";

const HIDDEN = "YOUR_KEY";
const parts = {};
let [isShown, wyoming] = [false, null];

function draw() {
  const key = getKey();
  parts.reveal.hidden = !key;
  parts.reveal.textContent = isShown ? "Hide key" : "Show key";
  const wanted = {
    base: BASE_URL,
    model: parts.model.value,
    key: isShown && key ? key : HIDDEN,
    host: ROOT.hostname,
    wyoming,
  };
  const cards = snippets(wanted).map(({ id, title, help, text }) =>
    el(
      "div",
      { class: "card snippet", id: `snippet-${id}`, "data-key": id },
      el(
        "div",
        { class: "row between" },
        el("h2", { text: title }),
        button("Copy", ({ target }) => copyShown(exampleAt(id), target), {
          class: "small",
          "aria-label": `Copy ${title}`,
        }),
      ),
      el("p", { class: "help", text: help }),
      el(
        "pre",
        { tabindex: "0", role: "region", "aria-label": `Example for ${title}` },
        el("code", { text }),
      ),
    ),
  );
  update(parts.list, el("div", {}, ...cards)); // whoever is at one of them stays there
}

const exampleAt = (id) => $(`snippet-${id}`).querySelector("code").textContent;

export function init() {
  parts.model = el("select", { id: "a-model", onchange: draw });
  parts.list = el("div", { class: "snippets" });
  parts.reveal = button(
    "Show key",
    () => {
      isShown = !isShown;
      draw();
    },
    { id: "a-reveal" },
  );
  $("api-body").append(
    el(
      "div",
      { class: "card" },
      el(
        "div",
        { class: "export" },
        el(
          "div",
          { class: "grow" },
          el("p", { class: "help", text: "Base URL" }),
          el(
            "p",
            {},
            el("code", { id: "a-base", text: BASE_URL }),
            " ",
            button("Copy", ({ target }) => copyShown(BASE_URL, target), {
              class: "small quiet",
              "aria-label": "Copy the base URL",
            }),
          ),
        ),
        el("label", {}, "Model in the examples", parts.model),
        parts.reveal,
      ),
      el(
        "p",
        { class: "help" },
        "Every operation with its fields: ",
        el("a", { href: "../docs", text: "API reference" }),
        ", for programs ",
        el("a", { href: "../openapi.json", text: "openapi.json" }),
        ".",
      ),
    ),
    parts.list,
  );
}

export async function show() {
  isShown = false;
  fillModels(parts.model, await models());
  draw();
  wyoming = await wyomingPort();
  draw();
}

/** Nobody looks: the key is not left in the page. */
export function hide() {
  isShown = false;
  draw();
}

/** Return the port of Home Assistant's protocol; null where it is off, or nobody may know. */
async function wyomingPort() {
  if (!(await isAdmin())) return null;
  try {
    const { uri } = (await getJson("v1/config")).wyoming;
    return new URL(uri.replace("tcp:", "http:")).port || null;
  } catch {
    return null;
  }
}
