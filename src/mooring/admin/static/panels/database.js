// The database's pool, and what is written in groups.

import { Chart } from "../charts.js";
import { $, setNumbers, setPairs } from "../dom.js";
import { bytes, count, joined, number, rate, seconds } from "../format.js";
import { ask, doing } from "../dialogs.js";
import { post } from "../api.js";
import { fill, marked } from "../forms.js";

const panel = $("#database");
export const chart = new Chart($(".chart", panel), [
  { key: "total", label: "connections", colour: "--one" },
  { key: "active", label: "lent", colour: "--two" },
  { key: "waiting", label: "waiting", colour: "--three", dash: [4, 3] },
], number);

let now = null;
let path = "";

export function show(one) {
  const { database, point } = one;
  now = database;
  path = `/servers/${encodeURIComponent(one.server.id)}/database`;
  if (!marked(panel, database, "This server has no database.")) return;
  setNumbers($(".numbers", panel), [
    ["lent", number(database.active)],
    ["idle", number(database.idle)],
    ["waiting", number(database.waiting), database.waiting ? "warning" : "", "handlers that wait for a connection"],
    ["most", number(database.max_size)],
    ["loans", rate(point.acquired)],
    ["wait p99", seconds(database.wait_p99), database.wait_p99 > 0.1 ? "warning" : "", "of those who had to wait, last minute"],
  ]);
  setPairs($("[data-what=more]", panel), [
    ["state", database.state, { level: database.down ? "serious" : "" }],
    ["lent for p99", joined(seconds(database.usage_p99))],
    ["timeouts", count(database.timeouts)],
    ["refused", count(database.rejected)],
    ["opened, closed", `${count(database.opened)}, ${count(database.closed)}`],
    ["failed to open", count(database.open_failures)],
    ["leaks", count(database.leaks)],
    ["run again", count(database.retries), { title: "transactions that lost against another" }],
    ...(database.wal_bytes === null ? [] : [["write-ahead log", joined(bytes(database.wal_bytes))]]),
    ...database.group_commits.flatMap(groupCommit),
    ["at", database.url, { all: true }],
    ...(database.last_error ? [["error", database.last_error, { all: true }]] : []),
  ]);
  fill($("form", panel), database);
}

function groupCommit(one) {
  const lost = one.failed + one.refused + one.expired + one.unknown;
  const parts = [
    `${joined(rate(one.rows_per_second)).replace("/s", "rows/s")}`, `${count(one.rows)} waiting`,
    `commit p99 ${joined(seconds(one.commit_p99))}`, `${count(lost)} not stored`,
  ];
  const title = `${count(one.committed)} rows in ${count(one.commits)} commits since the start; waiting: ${joined(bytes(one.bytes))}; `
    + `not stored: ${count(one.failed)} failed, ${count(one.refused)} refused, ${count(one.expired)} waited too long, ${count(one.unknown)} unknown`
    + (one.last_error ? `; ${one.last_error}` : "");
  return [[`group commit ${one.table}`, parts.join(", "), { all: true, level: lost ? "warning" : "", title }]];
}

$("form", panel).addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const [min, max] = [form.min.valueAsNumber, form.max.valueAsNumber];
  const text = `From ${now.min_size} to ${now.max_size} connections, to ${min} to ${max}.`;
  if (await ask({ title: "Resize the database's pool?", text, button: "Resize" })) {
    if (await doing(() => post(`${path}/resize`, { min_size: min, max_size: max }))) form.dataset.edited = "";
  }
});

$("[data-do=evict]", panel).addEventListener("click", async () => {
  const text = "Idle connections are closed now, lent ones when they come back; new ones are opened as needed.";
  if (await ask({ title: "Replace all connections?", text, button: "Evict" })) await doing(() => post(`${path}/evict`));
});
