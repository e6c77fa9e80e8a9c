// Messages and bytes.

import { Chart } from "../charts.js";
import { $, setNumbers, setPairs } from "../dom.js";
import { byteRate, bytes, count, joined, number, rate } from "../format.js";

const panel = $("#traffic");
export const chart = new Chart($(".chart", panel), [
  { key: "messages_in", label: "in", colour: "--one" },
  { key: "messages_out", label: "out", colour: "--two" },
], rate);

export function show(one) {
  const { traffic, point } = one;
  setNumbers($(".numbers", panel), [
    ["messages in", rate(point.messages_in)],
    ["out", rate(point.messages_out)],
    ["bytes in", byteRate(point.bytes_in)],
    ["out", byteRate(point.bytes_out)],
    ["waiting", bytes(traffic.waiting), traffic.waiting > 1048576 ? "warning" : "", "bytes that peers have not taken yet"],
    ["dropped", number(traffic.dropped), traffic.dropped ? "warning" : "", "messages that could not leave any more"],
  ]);
  setPairs($("[data-what=totals]", panel), [
    ["messages in", count(traffic.messages_in)],
    ["messages out", count(traffic.messages_out)],
    ["bytes in", joined(bytes(traffic.bytes_in))],
    ["bytes out", joined(bytes(traffic.bytes_out))],
    ["slow takers", count(traffic.waiting_connections), { title: "connections with bytes that wait" }],
  ]);
}
