// The process and its servers; and other processes of the same user, which have pages of their own.

import { $, setRows, setText } from "../dom.js";
import { bytes, count, joined, number, seconds } from "../format.js";

const body = $("#processes tbody");

export function show(snapshot) {
  const { process } = snapshot;
  const ours = snapshot.servers.map(({ server, connections }) => [
    process.pid,
    { text: server.name || server.description, title: server.description },
    server.model,
    { text: server.addresses.join(" ") || "–", title: server.addresses.join(" ") },
    { text: `${Math.round(process.cpu_share * 100)} % of a core`, class: "n" },
    { text: joined(bytes(process.memory)), class: "n" },
    { text: `${count(process.descriptors)} of ${count(process.descriptor_limit)}`, class: "n" },
    { text: count(process.threads), class: "n" },
    { text: joined(seconds(server.loop_lag)), class: "n" },
    { text: joined(number(connections.open)), class: "n" },
  ]);
  setRows(body, [...ours, ...snapshot.neighbours.map(neighbour)]);
  setText($("#slice"), `· this page's longest slice: ${joined(seconds(process.admin_longest_slice))}`);
}

function neighbour(one) {
  const elsewhere = { text: "–", class: "n", title: "its own page knows" };
  return [
    one.pid,
    { text: "another server", href: one.url, title: one.url },
    "–",
    "–",
    { text: one.cpu_share === null ? "–" : `${Math.round(one.cpu_share * 100)} % of a core`, class: "n" },
    { text: joined(bytes(one.memory)), class: "n" },
    { text: count(one.descriptors), class: "n" },
    { text: count(one.threads), class: "n" },
    elsewhere,
    elsewhere,
  ];
}
