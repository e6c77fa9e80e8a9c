// What went wrong, what the log says, and what was done from here.

import { get } from "../api.js";
import { $, element, setPairs } from "../dom.js";
import { clock, count } from "../format.js";

const panel = $("#errors");
const log = $("#log");
const MOST_LINES = 200;
let seen = 0;
let failures = -1;
let entries = "";

export function reset() {
  seen = 0;
  failures = -1;
  log.replaceChildren();
}

export function show(snapshot) {
  const kinds = {};
  for (const { errors } of snapshot.servers) {
    for (const [kind, times] of Object.entries(errors.kinds)) kinds[kind] = (kinds[kind] ?? 0) + times;
  }
  const sorted = Object.entries(kinds).sort((a, b) => b[1] - a[1]);
  setPairs($("[data-what=kinds]", panel), sorted.map(([kind, times]) => [kind.replaceAll("_", " "), count(times)]), "nothing so far");
  addLines(snapshot.events);
  const total = snapshot.servers.reduce((sum, { errors }) => sum + errors.failures, 0);
  if (total !== failures) {
    failures = total;
    showFailures();
  }
  if (snapshot.events.some(({ logger }) => logger === "mooring.audit") || entries === "") showAudit();
}

function addLines(events) {
  const fresh = events.filter(({ number }) => number > seen);
  if (!fresh.length) return;
  seen = fresh[fresh.length - 1].number;
  const made = fresh.map(({ time, level, text }) => element("li", { "data-level": level },
    element("time", {}, clock(time)), element("span", { class: "level" }, level), text));
  log.prepend(...made.reverse());
  while (log.children.length > MOST_LINES) log.lastChild.remove();
}

async function showFailures() {
  const box = $("#failures");
  let groups;
  try {
    groups = await get("/failures");
  } catch {
    failures = -1;
    return;
  }
  const opened = new Set([...box.querySelectorAll("details[open]")].map(({ dataset }) => dataset.id));
  box.replaceChildren(...(groups.length ? groups.map((group) => element("details", { "data-id": group.id, open: opened.has(group.id) ? "" : null },
    element("summary", {}, `${count(group.count)} × ${group.error}: ${group.text || "(no text)"} – last ${clock(group.last_at)}`),
    element("pre", {}, group.sample))) : [element("p", { class: "muted" }, "none so far")]));
}

async function showAudit() {
  try {
    const told = await get("/audit");
    entries = told.length ? `${told[0].time}` : "none";
    $("#audit").replaceChildren(...(told.length ? told.map(({ time, who, action, arguments: given, result }) => {
      const values = Object.entries(given).map(([name, value]) => `${name} ${value}`).join(", ");
      return element("li", {}, element("time", {}, clock(time)), `${action.replaceAll("_", " ")}${values ? ` (${values})` : ""} by ${who}: ${result}`);
    }) : [element("li", { class: "muted" }, "nothing yet")]));
  } catch {
    entries = "";
  }
}
