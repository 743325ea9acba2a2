// System: what this machine and this server are, the settings in effect, what the doctor finds.

import { events, getJson, isAdmin, post, supports } from "./api.js";
import { $, announce, badge, button, bytes, el, empty, facts, seconds, showError, table } from "./dom.js";
import { getKey } from "./key.js";

const KINDS = { ok: "good", warning: "warn", problem: "bad" };
const parts = {};

const listed = (items) => (items?.length ? items.join(", ") : "–");

function system(told) {
  const { cpu, memory } = told;
  return [
    el(
      "div",
      { class: "card" },
      el("h2", { text: "Server" }),
      facts([
        ["Version", told.version],
        ["Python", told.python],
        ["Platform", told.platform],
        ["Up for", seconds(told.uptime_seconds)],
        ["Process", String(told.pid)],
        ["TLS", told.tls ? "yes" : "no"],
        ["APIs of other servers", listed(told.dialects)],
      ]),
    ),
    el(
      "div",
      { class: "card" },
      el("h2", { text: "Machine" }),
      facts([
        ["Cores", String(cpu.cores)],
        ["Instructions", instructions(cpu.flags)],
        ["Memory", `${bytes(memory.available_bytes)} free of ${bytes(memory.total_bytes)}`],
        ["This server takes", bytes(memory.router_rss_bytes)],
        ...told.disk.map(({ path, free_bytes: free, purpose }) => [
          purpose,
          `${bytes(free)} free at ${path}`,
        ]),
        ...told.gpus.map((gpu) => [`GPU ${gpu.index ?? ""}`, gpu.name ?? JSON.stringify(gpu)]),
      ]),
    ),
    el("div", { class: "card" }, el("h2", { text: "Accelerators" }), accelerators(told.accelerators)),
    el(
      "div",
      { class: "card" },
      el("h2", { text: "Versions" }),
      facts([
        ...told.engines.map((engine) => [engine.name, versions(engine.versions)]),
        ...Object.entries(told.libraries),
      ]),
    ),
  ];
}

/** The many names that a processor has for what it can: folded away, behind their number. */
function instructions(flags) {
  if (!flags?.length) return "–";
  return el("details", {}, el("summary", { text: `${flags.length} sets` }), flags.join(", "));
}

function versions(told) {
  if (told === null || typeof told !== "object") return String(told ?? "installed");
  return (
    Object.entries(told)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ") || "installed"
  );
}

function accelerators(rows) {
  if (!rows.length) return empty("No engine has been used yet.");
  return table(
    "Accelerators",
    ["Model", "Requested", "In effect"],
    rows.map(({ alias, requested, in_effect: effect }) => [alias, requested ?? "–", effect ?? "not loaded"]),
  );
}

/** Settings as a table for each section, those of no section first. */
function settings(told) {
  const own = Object.entries(told).filter(([, value]) => value === null || typeof value !== "object");
  const sections = Object.entries(told).filter(([, value]) => value !== null && typeof value === "object");
  const shown = (value) => el("code", { text: typeof value === "string" ? value : JSON.stringify(value) });
  const list = (pairs) => facts(pairs.map(([name, value]) => [name, shown(value)]));
  return [
    list(own),
    el("div", { class: "sections" }, ...sections.map(([name, section]) => folded(name, section, list))),
  ];
}

function folded(name, section, list) {
  return el("details", {}, el("summary", { text: `[${name}]` }), list(Object.entries(section)));
}

async function doctor() {
  if (parts.doctorStart.ariaDisabled === "true") return;
  parts.doctorStart.ariaDisabled = "true"; // not `disabled`, which would let the focus fall
  const key = getKey();
  parts.findings.replaceChildren();
  parts.doctorState.textContent = "The doctor looks at this machine. That takes some seconds.";
  showError(parts.doctorError, null);
  try {
    let count = 0;
    for await (const finding of events("v1/system/doctor", { method: "POST" })) {
      if (finding.type === "error") throw new Error(finding.error.message);
      if (!finding.verdict) continue;
      if (key !== getKey()) break;
      count += finding.verdict !== "ok";
      parts.findings.append(
        el(
          "li",
          { class: "finding" },
          badge(finding.verdict, KINDS[finding.verdict]),
          el("span", {}, el("strong", { text: finding.subject }), ` ${finding.text}`),
        ),
      );
    }
    const findings = count === 1 ? "finding" : "findings";
    parts.doctorState.textContent = count ? `${count} ${findings} to look at.` : "All is well.";
    announce(parts.doctorState.textContent);
  } catch (error) {
    parts.doctorState.textContent = "";
    showError(parts.doctorError, error);
  }
  if (key !== getKey()) clear();
  parts.doctorStart.ariaDisabled = "false";
}

async function reload() {
  if (parts.reloadStart.ariaDisabled === "true") return;
  parts.reloadStart.ariaDisabled = "true";
  showError(parts.reloadError, null);
  try {
    const told = await post("v1/config/reload");
    const words = Object.entries(told)
      .filter(([what, names]) => what !== "warnings" && names.length)
      .map(([what, names]) => `${what.replaceAll("_", " ")}: ${names.join(", ")}`);
    if (told.warnings?.length)
      showError(parts.reloadError, new Error(`${told.warnings.join("; ")} (what was there before goes on)`));
    parts.reloadState.textContent = words.length
      ? `Read again. ${words.join("; ")}.`
      : "Read again; nothing has changed.";
    announce(parts.reloadState.textContent);
    await showConfig();
  } catch (error) {
    parts.reloadState.textContent = "";
    showError(parts.reloadError, error);
  }
  parts.reloadStart.ariaDisabled = "false";
}

async function showConfig() {
  const key = getKey();
  const told = await getJson("v1/config");
  if (key === getKey()) parts.config.replaceChildren(...settings(told));
}

async function showSystem() {
  const key = getKey();
  const told = (await supports("/v1/system")) ? await getJson("v1/system") : null;
  if (key !== getKey()) return;
  parts.about.replaceChildren(
    ...(told ? system(told) : [empty("This server does not describe its machine.")]),
  );
}

/** What one key may see is not for the next. */
function clear() {
  for (const name of ["about", "config", "findings", "doctorState", "reloadState"])
    parts[name].replaceChildren();
  for (const name of ["problem", "doctorError", "reloadError"]) showError(parts[name], null);
  parts.settings.hidden = parts.about.hidden = parts.doctor.hidden = true;
}

export function init() {
  parts.problem = el("div", { class: "alert notice", role: "alert", hidden: true });
  parts.about = el("div", { class: "cards" });
  parts.config = el("div");
  parts.findings = el("ul", { class: "plain", "aria-label": "Findings" });
  parts.doctorStart = button("Run the doctor", doctor);
  parts.doctorState = el("p", { class: "help", role: "status" });
  parts.reloadStart = button("Read it again", reload);
  parts.reloadState = el("p", { class: "help", role: "status" });
  for (const name of ["doctorError", "reloadError"])
    parts[name] = el("div", { class: "alert", role: "alert", hidden: true });
  parts.doctor = el(
    "div",
    { class: "card" },
    el("div", { class: "row between" }, el("h2", { text: "Doctor" }), parts.doctorStart),
    parts.doctorState,
    parts.doctorError,
    parts.findings,
  );
  parts.settings = el(
    "div",
    { class: "card" },
    el(
      "div",
      { class: "row between" },
      el("h2", { text: "Configuration in effect" }),
      parts.reloadStart,
    ),
    el("p", {
      class: "help",
      text: "Secrets are asterisks. To change something edit the configuration file, then have it read again.",
    }),
    parts.reloadState,
    parts.reloadError,
    parts.config,
  );
  document.addEventListener("key-changed", clear);
  $("system-body").append(parts.problem, parts.about, parts.doctor, parts.settings);
}

export async function show() {
  const key = getKey();
  const may = await isAdmin();
  const hasDoctor = may && (await supports("/v1/system/doctor"));
  if (key !== getKey()) return; // the one before has nothing to show any more
  const forbid = (error) =>
    error?.status === 403 ? new Error("Only an administrator's key may see the system.") : error;
  parts.settings.hidden = parts.about.hidden = !may;
  parts.doctor.hidden = !hasDoctor;
  if (!may) {
    showError(parts.problem, forbid({ status: 403 }));
    return;
  }
  try {
    await showConfig();
    await showSystem();
    showError(parts.problem, null);
  } catch (error) {
    if (error.status === 403) clear();
    showError(parts.problem, forbid(error));
  }
}
