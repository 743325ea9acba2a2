// Activity: what runs and waits, what was done, who used how much, and the jobs.

import { call, getJson, post, supports } from "./api.js";
import { barChart } from "./chart.js";
import { $, announce, badge, button, el, empty, save, seconds, showError, table, update, when } from "./dom.js";
import { FORMATS } from "./formats.js";
import { getKey } from "./key.js";
import { Poll } from "./poll.js";
import { usageTable } from "./usage_table.js";

const EVERY_MS = 2000;
const KEPT = 200;
const BARS = 30;
const GOOD = { completed: "good", running: "busy", queued: "", failed: "bad", cancelled: "warn" };
const PARTS = ["running", "charts", "jobs", "usage", "history"];
const parts = {};
const poll = new Poll(refresh, EVERY_MS, (error) => showError(parts.problem, error));
const doing = new Set();
let [drawn, turn] = [{}, 0];

/** Bring a part up to date if what it shows has changed; the focus and chosen values stay. */
function draw(name, told, make) {
  const text = JSON.stringify(told);
  if (drawn[name] === text) return;
  drawn[name] = text;
  const part = parts[name];
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  const place = held?.closest("tr")?.sectionRowIndex ?? 0;
  update(part, el("div", {}, ...make()));
  if (!held || held.isConnected) return;
  // what had the focus is gone: on to the row that is in its place, or to the heading
  const rows = part.querySelectorAll("tbody tr");
  const next = rows[Math.min(place, rows.length - 1)]?.querySelector("button, select");
  (next ?? part.parentElement.querySelector("h2")).focus();
}

/** What one key may see is not for the next. */
function clear() {
  drawn = {};
  for (const name of PARTS) parts[name].replaceChildren();
  showError(parts.failure, null);
}

async function refresh(isLatest) {
  const key = getKey();
  const isWanted = () => isLatest() && key === getKey();
  turn += 1; // every look is a request more: what changes slowly is asked for less often
  await Promise.all([activity(isWanted), turn % 2 && jobs(isWanted), turn % 5 === 1 && usage(isWanted)]);
}

async function activity(isWanted) {
  if (!(await supports("/v1/activity"))) {
    draw("running", "absent", () => [empty("This server does not tell what runs.")]);
    draw("history", "absent", () => [empty("This server keeps no history.")]);
    draw("charts", "absent", () => [empty("Charts need the history.")]);
    return;
  }
  const { running, history } = await getJson(`v1/activity?limit=${KEPT}`);
  if (!isWanted()) return;
  draw("running", running, () => [running.length ? runningTable(running) : empty("Nothing runs.")]);
  draw("history", history, () => [
    history.length ? historyTable(history) : empty("Nothing was asked for yet."),
  ]);
  draw("charts", history, () => charts(history));
}

function runningTable(rows) {
  const heads = ["Kind", "Model", "Key", "State", "Progress", "Audio", "For", "Action"];
  return table(
    "Running and queued",
    heads,
    rows.map((row) => [
      row.kind,
      row.model ?? "–",
      row.key ?? "–",
      badge(
        row.queue_position ? `${row.status}, ${row.queue_position} before` : row.status,
        row.status === "running" ? "busy" : "",
      ),
      row.progress === null
        ? "–"
        : el("progress", { max: 1, value: row.progress, "aria-label": `Progress of ${row.id}` }),
      seconds(row.audio_seconds),
      seconds(row.elapsed_seconds),
      row.cancellable
        ? button("Cancel", () => act(`v1/activity/${encodeURIComponent(row.id)}/cancel`), {
            class: "small",
            "aria-label": `Cancel ${row.id}`,
            "data-key": "cancel",
          })
        : "",
    ]),
    rows.map(({ id }) => id),
  );
}

function historyTable(rows) {
  const heads = ["When", "What", "Model", "Key", "Status", "Audio", "Took", "RTF", "Waited"];
  return table(
    "History",
    heads,
    rows
      .slice(0, 50)
      .map((row) => [
        when(row.ended_at),
        `${row.method} ${row.path}`,
        row.model ?? "–",
        row.key ?? "–",
        el(
          "span",
          {},
          badge(String(row.status), row.status < 400 ? "good" : row.status < 500 ? "warn" : "bad"),
          row.code ? ` ${row.code}` : "",
        ),
        seconds(row.audio_seconds),
        seconds(row.took_seconds, 2),
        row.rtf === null ? "–" : row.rtf.toFixed(3),
        seconds(row.wait_seconds, 2),
      ]),
  );
}

function charts(history) {
  if (!history.length) return [empty("Charts need requests.")];
  const begin = Math.min(...history.map((row) => row.ended_at));
  const end = Math.max(...history.map((row) => row.ended_at)) + 0.001;
  const width = Math.max(1, (end - begin) / BARS);
  const bins = Array.from({ length: Math.min(BARS, Math.ceil((end - begin) / width)) }, (_, index) => {
    const from = begin + index * width;
    const rows = history.filter((row) => row.ended_at >= from && row.ended_at < from + width);
    const speeds = rows.map((row) => row.rtf).filter((rtf) => rtf !== null);
    const bad = rows.filter((row) => row.status >= 400).length;
    const rtf = speeds.length ? speeds.reduce((sum, value) => sum + value, 0) / speeds.length : null;
    return { label: when(from), count: rows.length, bad, rtf };
  });
  const until = when(end);
  return [
    barChart(
      "Requests",
      bins.map(({ label, count, bad }) => ({ label, value: count, bad })),
      { until },
    ),
    barChart(
      "Real-time factor",
      bins.map(({ label, rtf }) => ({ label, value: rtf })),
      { until, format: (value) => value.toFixed(3) },
    ),
    barChart(
      "Errors",
      bins.map(({ label, bad }) => ({ label, value: bad, bad })),
      { until },
    ),
  ];
}

async function usage(isWanted) {
  if (!(await supports("/v1/usage"))) {
    draw("usage", "absent", () => [empty("This server does not count use.")]);
    return;
  }
  const own = await getJson("v1/usage");
  const rows = own.scopes.includes("admin") ? (await getJson("v1/usage/keys")).data : [own];
  if (!isWanted()) return;
  draw("usage", rows, () => [rows.length ? usageTable(rows) : empty("Nobody has called yet.")]);
}

async function jobs(isWanted) {
  let told;
  try {
    told = (await getJson("v1/jobs?limit=50")).data;
  } catch (error) {
    if (error.status !== 503 && error.status !== 403) throw error;
    if (isWanted()) draw("jobs", error.message, () => [empty(error.message)]);
    return;
  }
  if (!isWanted()) return;
  draw("jobs", told, () => [
    told.length ? jobTable(told) : empty("No jobs. Programs make them with POST /v1/jobs."),
  ]);
}

function jobTable(rows) {
  const heads = ["Audio", "State", "Progress", "Actions", "Length", "Model", "Made"];
  return table(
    "Jobs",
    heads,
    rows.map((job) => {
      const path = `v1/jobs/${job.id}`;
      const isOver = ["completed", "failed", "cancelled"].includes(job.status);
      const named = (name) => ({
        class: "small",
        "aria-label": `${name} ${job.filename ?? job.id}`,
        "data-key": name,
      });
      return [
        el("span", { class: "wrap", text: job.filename ?? job.url ?? job.id }),
        el(
          "span",
          {},
          badge(job.status, GOOD[job.status]),
          job.error ? ` ${job.error.code ?? job.error.message}` : "",
        ),
        el("progress", {
          max: 100,
          value: job.percent,
          "aria-label": `Progress of ${job.filename ?? job.id}`,
        }),
        el(
          "div",
          { class: "row" },
          job.status === "completed" ? resultButtons(job, path) : null,
          isOver ? null : button("Cancel", () => act(`${path}/cancel`), named("Cancel")),
          isOver
            ? button("Delete", () => act(path, "DELETE"), { ...named("Delete"), class: "small quiet danger" })
            : null,
        ),
        seconds(job.duration),
        job.model,
        when(job.created_at),
      ];
    }),
    rows.map(({ id }) => id),
  );
}

function resultButtons(job, path) {
  const name = job.filename ?? job.id;
  const formats = Object.entries(FORMATS).filter(([, { speakers }]) => !speakers);
  const chosen = el(
    "select",
    { "aria-label": `Format of ${name}` },
    ...formats.map(([id]) => el("option", { value: id, text: id })),
  );
  const download = async () => {
    try {
      const text = await (await call(`${path}/result?response_format=${chosen.value}`)).text();
      save(
        text,
        `${name.replace(/\.[^.]{1,5}$/, "")}.${FORMATS[chosen.value].suffix}`,
        FORMATS[chosen.value].type,
      );
      showError(parts.failure, null);
    } catch (error) {
      showError(parts.failure, error);
    }
  };
  return el(
    "div",
    { class: "row", "data-key": "result" },
    chosen,
    button("Download", download, { class: "small", "aria-label": `Download ${name}` }),
  );
}

async function act(path, method = "POST") {
  if (doing.has(path)) return; // the second time it would fail, since it is done
  doing.add(path);
  showError(parts.failure, null);
  try {
    await (method === "POST" ? post(path) : call(path, { method }));
    announce("Done.");
    turn = 0;
    await poll.look();
  } catch (error) {
    showError(parts.failure, error);
  } finally {
    doing.delete(path);
  }
}

export function init() {
  for (const name of ["problem", "failure"])
    parts[name] = el("div", { class: "alert", role: "alert", hidden: true });
  for (const name of PARTS) parts[name] = el("div");
  parts.charts.className = "charts";
  parts.jobs.className = "jobs";
  const card = (title, part) =>
    el("div", { class: "card" }, el("h2", { text: title, tabindex: "-1" }), part);
  $("activity-body").append(
    parts.problem,
    parts.failure,
    card("Running and queued", parts.running),
    card("Over time", parts.charts),
    card("Jobs", parts.jobs),
    card("Use per key", parts.usage),
    card("History", parts.history),
  );
  document.addEventListener("key-changed", clear);
}

export async function show() {
  turn = 0;
  await poll.start();
}

export const hide = () => poll.stop();
