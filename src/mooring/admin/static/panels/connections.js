// How many are connected, and how they went.

import { Chart } from "../charts.js";
import { $, setNumbers, setPairs } from "../dom.js";
import { count, number, rate } from "../format.js";

const panel = $("#connections");
export const chart = new Chart($(".chart", panel), [{ key: "connections", label: "open", colour: "--one" }], number);

const WORDS = {
  peer: "the peer left", reset: "broken off", local: "closed here", heartbeat: "no heartbeat", idle: "idle",
  first_message: "no first message", stalled: "took no bytes", frame: "bad frame", handler: "handler raised",
  replaced: "same name again", overflow: "outbox full", rate: "sent too much", refused: "not taken", stop: "server stops",
};

const refusedWhy = (refusals) => Object.entries(refusals).map(([reason, times]) => `${reason}: ${count(times)}`).join(", ");

export function show(one) {
  const { connections: numbers, point } = one;
  const full = numbers.limit && numbers.open >= 0.9 * numbers.limit ? "serious" : "";
  setNumbers($(".numbers", panel), [
    ["now", number(numbers.open), full, "open connections"],
    ["most", number(numbers.most), "", "the most at one time since the start"],
    ["limit", number(numbers.limit), "", "max_connections"],
    ["accepted", rate(point.accepts), "", `${count(numbers.accepted)} since the start`],
    ["closed", rate(point.closes)],
    ["refused", number(numbers.refused), numbers.refused ? "warning" : "", refusedWhy(numbers.refusals) || "closed as soon as accepted"],
  ]);
  const closed = Object.entries(numbers.closed).sort((a, b) => b[1] - a[1]);
  setPairs($("[data-what=closed]", panel), closed.map(([reason, times]) => [WORDS[reason] ?? reason, count(times)]));
}
