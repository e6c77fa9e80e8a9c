// How long handlers take, and where they run.

import { $, setBars, setNumbers, setRows } from "../dom.js";
import { count, joined, number, rate, seconds } from "../format.js";

// Calls below 0.09 ms are not measured one by one; this is shown as "<0.1 ms".
const QUICK = 0.00005;
const panel = $("#handlers");

export function show(one) {
  const { handlers, point } = one;
  setNumbers($(".numbers", panel), [
    ["calls", rate(point.calls), "", `${count(handlers.calls)} since the start`],
    ["median", seconds(handlers.p50), "", "of the last minute"],
    ["p95", seconds(handlers.p95), "", "of the last minute"],
    ["p99", seconds(handlers.p99), "", "of the last minute"],
    ["longest", seconds(handlers.longest || (handlers.calls ? QUICK : 0)), "", "since the start"],
    ["hand-overs", number(handlers.handovers), "", "times that the loop moved on from a handler that waited"],
  ]);
  setBars($(".bars", panel), handlers.histogram.map(([bound, calls]) => [joined(seconds(bound)), calls]), "no calls");
  setRows($("tbody", panel), handlers.routes.map((route) => [
    { text: route.name, title: route.name },
    { text: route.runs, title: `${count(route.on_loop)} calls on the loop, ${count(route.calls - route.on_loop)} elsewhere` },
    { text: count(route.calls), class: "n" },
    { text: count(route.errors), class: "n", level: route.errors ? "serious" : "", title: "calls that raised" },
    { text: joined(seconds(route.p99)), class: "n", title: `median ${joined(seconds(route.p50))}` },
    { text: joined(seconds(route.longest || (route.calls ? QUICK : 0))), class: "n" },
  ]), "no calls yet");
}
