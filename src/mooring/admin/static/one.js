// One connection: what is known of it, its messages as they come, and what can be done to it.

import { get, post } from "./api.js";
import { ask, doing, notice } from "./dialogs.js";
import { $, element, setPairs, setText } from "./dom.js";
import { bytes, clock, count, duration, joined, seconds } from "./format.js";

const dialog = $("#one");
const lines = $(".trace tbody", dialog);
const MOST_LINES = 500;
let id = 0;
let shown = null;
let timer = 0;
let source = null;

export async function open(number) {
  id = number;
  shown = null;
  lines.replaceChildren();
  if (!(await refresh())) return;
  dialog.showModal();
  timer = setInterval(refresh, 1000);
}

async function refresh() {
  let details;
  try {
    details = await get(`/connections/${id}`);
  } catch (error) {
    if (!dialog.open) notice(error.message, true);
    else setText($("#one-title"), `${title(shown)} (ended)`);
    clearInterval(timer);
    return false;
  }
  shown = details;
  setText($("#one-title"), title(details));
  const { row } = details;
  const known = (value, show) => (value === null || value === undefined ? "–" : show(value));
  setPairs($(".pairs", dialog), [
    ["name", row.name ?? "–"],
    ["number", row.id],
    ["address", row.peer.replace("tcp://", "")],
    ["here", details.local.replace("tcp://", "")],
    ["connected for", duration(Date.now() / 1000 - row.connected_at)],
    ["silent for", duration(row.silence)],
    ["messages in", count(row.messages)],
    ["bytes in", known(details.bytes_in, (value) => joined(bytes(value)))],
    ["bytes out", known(details.bytes_out, (value) => joined(bytes(value)))],
    ["errors", count(row.errors), { title: "messages that were refused", level: row.errors ? "serious" : "" }],
    ["waiting out", joined(bytes(row.waiting))],
    ["round trip", known(details.round_trip, (value) => joined(seconds(value)))],
    ["sent again", known(details.retransmits, (value) => `${count(value)} segments`)],
    ["messages waiting", count(details.inbox)],
    ["replies pending", count(details.replies)],
    ["requests open", count(details.requests)],
    ["served by", details.served_by],
    ...(row.closing ? [["closing", row.closing]] : []),
  ]);
  return true;
}

function title(details) {
  return details?.row.name ?? `connection ${id}`;
}

function stopTrace() {
  source?.close();
  source = null;
  setText($("#one-trace"), "Trace for 60 s");
}

function startTrace() {
  lines.replaceChildren();
  source = new EventSource(`api/v1/trace?connection=${id}&seconds=60`);
  setText($("#one-trace"), "End trace");
  source.addEventListener("frame", (event) => addLine(JSON.parse(event.data)));
  source.addEventListener("end", stopTrace);
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) notice("this server has no trace, or the connection has ended", true);
    stopTrace();
  };
}

const ARROWS = { in: "→", out: "←", served: "✓" };

function addLine(frame) {
  const line = element("tr", { class: frame.direction },
    element("td", {}, clock(frame.time, true)),
    element("td", { title: frame.direction }, ARROWS[frame.direction] ?? frame.direction),
    element("td", {}, ...said(frame)),
    element("td", { title: frame.route ?? "" }, (frame.route ?? "").split(" (")[0]),
    element("td", {}, frame.where ?? ""),
    element("td", { class: "n" }, frame.milliseconds === undefined || frame.milliseconds === null ? "" : `${frame.milliseconds} ms`));
  lines.prepend(line);
  while (lines.children.length > MOST_LINES) lines.lastChild.remove();
}

// Bytes in text and in hexadecimal numbers; of a message what it was decoded to; and what went wrong.
function said(frame) {
  const parts = [];
  if (frame.left_out) parts.push(element("div", { class: "muted" }, `… ${count(frame.left_out)} left out here`));
  const text = frame.message ?? frame.text;
  if (text) parts.push(element("div", {}, text));
  if (frame.hex && frame.direction !== "served") {
    const kept = Math.ceil(frame.hex.length / 3);
    const more = frame.size > kept ? ` … ${count(frame.size)} bytes` : "";
    parts.push(element("div", { class: "muted" }, frame.hex + more));
  }
  if (frame.detail) parts.push(element("div", { class: "detail" }, frame.detail));
  return parts;
}

$("#one-leave").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  clearInterval(timer);
  stopTrace();
});
$("#one-trace").addEventListener("click", () => (source ? stopTrace() : startTrace()));

async function end(abort) {
  const text = abort
    ? "It is reset at once: replies and messages that wait are lost."
    : "Replies that are due still leave; devices usually come back.";
  if (await ask({ title: `${abort ? "Reset" : "Close"} ${title(shown)}?`, text, button: abort ? "Reset" : "Close" })) {
    await doing(() => post(`/connections/${id}/close`, { abort }));
  }
}

$("#one-close").addEventListener("click", () => end(false));
$("#one-abort").addEventListener("click", () => end(true));
$("#one-send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const [kind, data] = [form.kind.value, form.data.value];
  const send = {
    text: () => post(`/connections/${id}/send`, { text: data }),
    hex: () => post(`/connections/${id}/send`, { hex: data }),
    command: () => command(data),
  }[kind];
  const what = kind === "command" ? `The command is stored and delivered to ${title(shown)}.` : `It goes to ${title(shown)} as it is.`;
  if (await ask({ title: "Send this?", text: `${what} ${data}`, button: "Send" }) && (await doing(send))) form.data.value = "";
});

async function command(data) {
  if (!shown.row.name) throw new Error("this connection has no name: no device has logged in on it");
  let parsed;
  try {
    parsed = JSON.parse(data);
  } catch {
    throw new Error("a command is JSON, for example {\"reboot\":true}");
  }
  const [server, device] = [shown.row.server, shown.row.name].map(encodeURIComponent);
  return post(`/servers/${server}/devices/${device}/commands`, { data: parsed });
}
