// The strip at the top: state, facts, alerts.

import { $, element, setPairs, setText } from "../dom.js";
import { duration } from "../format.js";

const LEVELS = { running: "ok", draining: "warning", suspended: "warning", stopping: "warning" };

export function alarm(text) {
  $("#alerts").replaceChildren(element("li", { "data-level": "serious" }, text));
}

export function show(snapshot, one) {
  const serious = snapshot.alerts.some((alert) => alert.level === "serious");
  const state = $("#state");
  setText(state, serious && snapshot.state === "running" ? "degraded" : snapshot.state);
  state.dataset.level = serious ? "serious" : (LEVELS[snapshot.state] ?? "serious");
  setText($("#description"), one.server.description);
  const { process } = snapshot;
  setPairs($("#facts"), [
    ["up", duration(one.server.uptime)],
    ["mooring", process.version],
    ["Python", `${process.python}, ${process.gil ? "with the GIL" : "without GIL"}`],
    ["model", one.server.model],
    ["process", process.pid],
    ["listening", one.server.addresses.join(" ")],
    ...(process.settings ? [["settings", process.settings]] : []),
  ]);
  const list = $("#alerts");
  const alerts = snapshot.alerts.length ? snapshot.alerts : [{ level: "none", text: "no alerts", server: null }];
  const several = snapshot.servers.length > 1;
  const texts = alerts.map(({ server, text }) => (several && server ? `${server}: ${text}` : text));
  if (texts.join("\n") !== [...list.children].map((item) => item.textContent).join("\n")) {
    list.replaceChildren(...alerts.map(({ level }, index) => element("li", { "data-level": level }, texts[index])));
  }
  const suspend = $("#suspend");
  setText(suspend, one.server.state === "suspended" ? "Resume accepting" : "Suspend accepting");
  suspend.disabled = !["running", "suspended"].includes(one.server.state);
  $("#drain").disabled = snapshot.state === "draining";
  const level = $("#log-level");
  if (document.activeElement !== level) level.value = snapshot.log_level;
}
