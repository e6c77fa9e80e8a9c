// The thread pool: whether messages wait for threads.

import { Chart } from "../charts.js";
import { $, setNumbers, setPairs, setText } from "../dom.js";
import { count, joined, number, seconds } from "../format.js";
import { ask, doing } from "../dialogs.js";
import { post } from "../api.js";
import { fill, marked } from "../forms.js";

const panel = $("#threads");
export const chart = new Chart($(".chart", panel), [
  { key: "size", label: "threads", colour: "--one" },
  { key: "busy", label: "busy", colour: "--two" },
  { key: "queued", label: "waiting", colour: "--three", dash: [4, 3] },
], number);

let now = null;
let path = "";

export function show(one) {
  const { threads } = one;
  now = threads;
  path = `/servers/${encodeURIComponent(one.server.id)}/threads`;
  if (!marked(panel, threads, `The model “${one.server.model}” has no pool.`)) return;
  const late = threads.wait_p99 > 0.1 ? "warning" : "";
  setNumbers($(".numbers", panel), [
    ["busy", number(threads.busy)],
    ["idle", number(threads.idle)],
    ["threads", number(threads.size), "", `${threads.min_size} to ${threads.max_size}; ${threads.target} allowed now`],
    ["queue", number(threads.queued), threads.oldest_wait > 1 ? "serious" : "", "tasks that wait for a thread"],
    ["wait p99", seconds(threads.wait_p99), late, "in the queue, last minute: if this is long, more threads help"],
    ["stuck", number(threads.stuck), threads.stuck ? "serious" : "", "handlers that have run for more than a minute"],
  ]);
  setPairs($("[data-what=more]", panel), [
    ["bounds", `${threads.min_size} to ${threads.max_size}`],
    ["oldest waits", joined(seconds(threads.oldest_wait))],
    ["run median", joined(seconds(threads.run_p50))],
    ["run p99", joined(seconds(threads.run_p99))],
    ["done", count(threads.completed)],
    ["failed", count(threads.failed)],
    ["grown, shrunk", `${count(threads.grown)}, ${count(threads.shrunk)}`],
    ["wait median", joined(seconds(threads.wait_p50))],
  ]);
  fill($("form", panel), threads);
  setText($("[data-do=pause]", panel), threads.paused ? "Resume" : "Pause");
}

$("form", panel).addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const [min, max] = [form.min.valueAsNumber, form.max.valueAsNumber];
  const text = `From ${now.min_size} to ${now.max_size} threads, to ${min} to ${max}.`;
  if (await ask({ title: "Resize the thread pool?", text, button: "Resize" })) {
    if (await doing(() => post(`${path}/resize`, { min_size: min, max_size: max }))) form.dataset.edited = "";
  }
});

$("[data-do=pause]", panel).addEventListener("click", async () => {
  if (now.paused) {
    await doing(() => post(`${path}/resume`));
    return;
  }
  const text = "No handler starts until it is resumed: messages wait, then connections are not read.";
  if (await ask({ title: "Pause the thread pool?", text, button: "Pause" })) await doing(() => post(`${path}/pause`));
});
