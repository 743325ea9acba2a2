// Activity: what runs and waits, what was done, who used how much, and the jobs.

import { call, getJson, post, supports } from "./api.js";
import { barChart } from "./chart.js";
import { $, announce, badge, button, el, empty, save, seconds, showError, table, time } from "./dom.js";
import { FORMATS } from "./formats.js";
import { Poll } from "./poll.js";

const EVERY_MS = 2000;
const KEPT = 200;
const BARS = 30;
const GOOD = { completed: "good", running: "busy", queued: "", failed: "bad", cancelled: "warn" };
const parts = {};
const poll = new Poll(refresh, EVERY_MS, (error) => showError(parts.problem, error));
let drawn = {};
let turn = 0;

/** Draw a part anew only if what it shows has changed: buttons keep the focus. */
function draw(name, told, make) {
  const text = JSON.stringify(told);
  if (drawn[name] === text) return;
  drawn[name] = text;
  parts[name].replaceChildren(...make());
}

async function refresh() {
  turn += 1; // looking counts against the key's own limits, so what changes slowly is asked for less
  await Promise.all([activity(), turn % 2 ? jobs() : null, turn % 5 === 1 ? usage() : null]);
}

async function activity() {
  if (!(await supports("/v1/activity"))) {
    draw("running", "absent", () => [empty("This server does not tell what runs.")]);
    draw("history", "absent", () => [empty("This server keeps no history.")]);
    draw("charts", "absent", () => [empty("Charts need the history.")]);
    return;
  }
  const { running, history } = await getJson(`v1/activity?limit=${KEPT}`);
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
          })
        : "",
    ]),
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
        time(row.ended_at),
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
    return { label: time(from), count: rows.length, bad, rtf };
  });
  return [
    barChart(
      "Requests",
      bins.map(({ label, count, bad }) => ({ label, value: count, bad })),
    ),
    barChart(
      "Real-time factor",
      bins.map(({ label, rtf }) => ({ label, value: rtf })),
      { format: (value) => value.toFixed(3) },
    ),
    barChart(
      "Errors",
      bins.map(({ label, bad }) => ({ label, value: bad, bad })),
    ),
  ];
}

async function usage() {
  if (!(await supports("/v1/usage"))) {
    draw("usage", "absent", () => [empty("This server does not count use.")]);
    return;
  }
  const own = await getJson("v1/usage");
  const rows = own.scopes.includes("admin") ? (await getJson("v1/usage/keys")).data : [own];
  draw("usage", rows, () => [rows.length ? usageTable(rows) : empty("Nobody has called yet.")]);
}

function usageTable(rows) {
  const of = (used, limit) => (limit === null || limit === undefined ? String(used) : `${used} of ${limit}`);
  const heads = [
    "Key",
    "Today",
    "Errors",
    "Audio today",
    "This minute",
    "At once",
    "All audio",
    "May",
    "Expires",
  ];
  return table(
    "Use per key",
    heads,
    rows.map((row) => [
      row.key ?? "(no key)",
      row.today.requests,
      row.today.errors,
      row.limits.audio_minutes_per_day === null
        ? seconds(row.today.audio_seconds)
        : `${(row.today.audio_seconds / 60).toFixed(1)} of ${row.limits.audio_minutes_per_day} min`,
      of(row.now.requests_in_minute, row.limits.requests_per_minute),
      of(row.now.concurrent_requests, row.limits.concurrent_requests),
      seconds(row.total.audio_seconds),
      row.scopes.join(", "),
      row.expires_at ? new Date(row.expires_at * 1000).toLocaleDateString() : "never",
    ]),
  );
}

async function jobs() {
  let told;
  try {
    told = (await getJson("v1/jobs?limit=50")).data;
  } catch (error) {
    if (error.status !== 503 && error.status !== 403) throw error;
    draw("jobs", error.message, () => [empty(error.message)]);
    return;
  }
  draw("jobs", told, () => [
    told.length ? jobTable(told) : empty("No jobs. Programs make them with POST /v1/jobs."),
  ]);
}

function jobTable(rows) {
  const heads = ["Made", "Audio", "Model", "State", "Progress", "Length", "Actions"];
  return table(
    "Jobs",
    heads,
    rows.map((job) => {
      const path = `v1/jobs/${job.id}`;
      const isOver = ["completed", "failed", "cancelled"].includes(job.status);
      const about = { class: "small", "aria-label": "" };
      const named = (name) => ({ ...about, "aria-label": `${name} ${job.filename ?? job.id}` });
      return [
        time(job.created_at),
        el("span", { class: "wrap", text: job.filename ?? job.url ?? job.id }),
        job.model,
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
        seconds(job.duration),
        el(
          "div",
          { class: "row" },
          job.status === "completed" ? resultButtons(job, path) : null,
          isOver ? null : button("Cancel", () => act(`${path}/cancel`), named("Cancel")),
          isOver
            ? button("Delete", () => act(path, "DELETE"), { ...named("Delete"), class: "small quiet danger" })
            : null,
        ),
      ];
    }),
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
    } catch (error) {
      showError(parts.problem, error);
    }
  };
  return el(
    "div",
    { class: "row" },
    chosen,
    button("Download", download, { class: "small", "aria-label": `Download ${name}` }),
  );
}

async function act(path, method = "POST") {
  try {
    await (method === "POST" ? post(path) : call(path, { method }));
    announce("Done.");
  } catch (error) {
    showError(parts.problem, error);
    return;
  }
  turn = 0;
  await poll.start();
}

export function init() {
  parts.problem = el("div", { class: "alert", role: "alert", hidden: true });
  for (const name of ["running", "charts", "history", "usage", "jobs"]) parts[name] = el("div");
  parts.charts.className = "charts";
  const card = (title, part) => el("div", { class: "card" }, el("h2", { text: title }), part);
  $("activity-body").append(
    parts.problem,
    card("Running and queued", parts.running),
    card("Over time", parts.charts),
    card("Jobs", parts.jobs),
    card("Use per key", parts.usage),
    card("History", parts.history),
  );
}

export async function show() {
  drawn = {};
  turn = 0;
  await poll.start();
}

export const hide = () => poll.stop();
