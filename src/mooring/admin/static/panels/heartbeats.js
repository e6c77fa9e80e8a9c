// Who is silent, and for how long.

import { $, setBars, setNumbers, setRows } from "../dom.js";
import { duration, joined, number, seconds } from "../format.js";

const panel = $("#heartbeats");

export function show(one) {
  const { heartbeats } = one;
  setNumbers($(".numbers", panel), [
    ["alive", number(heartbeats.alive)],
    ["late", number(heartbeats.late), heartbeats.late ? "warning" : "", "silent for longer than they should be"],
    ["timed out", number(heartbeats.timed_out), "", "closed for their silence since the start"],
    ["asked", number(heartbeats.sent), "", "heartbeats sent since the start"],
    ["interval", heartbeats.interval === null ? ["–", ""] : seconds(heartbeats.interval), "", "silence after which the server asks"],
    ["time-out", heartbeats.timeout === null ? ["–", ""] : seconds(heartbeats.timeout), "", "silence after which a connection is closed"],
  ]);
  const bars = heartbeats.silence.map(([bound, count]) => [bound === null ? "more" : duration(bound).replace(/ 0 s$/, ""), count]);
  setBars($(".bars", panel), bars, "nobody is connected");
  setRows($("tbody", panel), heartbeats.soonest.map((silent) => [
    { text: silent.name ?? `connection ${silent.id}`, title: silent.name ?? "" },
    silent.peer,
    { text: `in ${joined(seconds(silent.left))}`, class: "n" },
  ]), "nobody");
}
