// Brings it all together: logging in, the stream of snapshots, and finding back after a restart.

import { get, post } from "./api.js";
import { ask, doing, notice } from "./dialogs.js";
import { $, element } from "./dom.js";
import { clock, count } from "./format.js";
import * as theme from "./theme.js";
import * as status from "./panels/status.js";
import * as connections from "./panels/connections.js";
import * as listeners from "./panels/listeners.js";
import * as traffic from "./panels/traffic.js";
import * as handlers from "./panels/handlers.js";
import * as threads from "./panels/threads.js";
import * as heartbeats from "./panels/heartbeats.js";
import * as database from "./panels/database.js";
import * as table from "./panels/table.js";
import * as errors from "./panels/errors.js";
import * as processes from "./panels/process.js";

const SILENCE = 5000;
const AGAIN = 2000;
const panels = [connections, listeners, traffic, handlers, threads, heartbeats, database];
const charts = [connections, traffic, threads, database].map(({ chart }) => chart);

let latest = null;
let chosen = null;
let frozen = false;
let source = null;
let heard = 0;
let run = null;

theme.apply();
theme.onSystemChange(() => charts.forEach((chart) => chart.restyle()));

// The token ------------------------------------------------------------------------------------------------------

async function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("t");
  if (!token) return;
  history.replaceState(null, "", location.pathname); // before anything can go wrong: it must not stay in the address
  try {
    await post("/session", { token });
  } catch (error) {
    notice(error.message, true);
  }
}

async function logIn() {
  while (true) {
    try {
      const { role } = await get("/session");
      document.body.classList.toggle("viewer", role === "viewer");
      return;
    } catch (error) {
      if (error.status === 401) await askForToken();
      else {
        markStale(error.status === 0 ? "no connection" : "not let in");
        await new Promise((done) => setTimeout(done, AGAIN));
      }
    }
  }
}

function askForToken() {
  const dialog = $("#login");
  const form = $("form", dialog);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  if (!dialog.open) dialog.showModal();
  return new Promise((done) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        await post("/session", { token: form.token.value.trim() });
        $(".problem", form).textContent = "";
        form.reset();
        dialog.close();
        done();
      } catch (error) {
        $(".problem", form).textContent = error.message;
      }
    };
  });
}

// The stream -----------------------------------------------------------------------------------------------------

async function connect() {
  source?.close();
  await logIn();
  await fetchHistory();
  table.refresh();
  heard = Date.now();
  source = new EventSource("api/v1/events");
  source.addEventListener("snapshot", (event) => take(JSON.parse(event.data)));
  source.onerror = () => {
    source.close();
    markStale("no connection");
    setTimeout(connect, AGAIN);
  };
}

async function fetchHistory() {
  try {
    const { times, servers } = await get("/history");
    past = { times, servers };
    redraw();
  } catch {
    // The charts then begin now.
  }
}

let past = { times: [], servers: {} };

function redraw() {
  const id = chosen ?? Object.keys(past.servers)[0];
  charts.forEach((chart) => chart.reset(past.times, past.servers[id]));
}

function markStale(text) {
  document.body.classList.add("stale");
  $("#state").textContent = text;
  $("#state").dataset.level = "serious";
  if (latest) status.alarm(`the server does not answer; this is how it was at ${clock(latest.time)}`);
}

setInterval(() => {
  if (source && source.readyState === EventSource.OPEN && Date.now() - heard > SILENCE) markStale("no news");
}, 1000);

function take(snapshot) {
  heard = Date.now();
  document.body.classList.remove("stale");
  const now = `${snapshot.process.pid} ${snapshot.process.started_at}`;
  if (run !== null && run !== now) errors.reset();
  run = now;
  const first = latest === null;
  latest = snapshot;
  offerServers(snapshot.servers);
  remember(snapshot);
  if (!frozen || first) show();
}

function remember({ time, servers }) {
  if (!past.times.length || time > past.times[past.times.length - 1]) {
    past.times.push(time);
    for (const { server, point } of servers) {
      const columns = (past.servers[server.id] ??= {});
      for (const [key, value] of Object.entries(point)) {
        (columns[key] ??= past.times.slice(1).map(() => null)).push(value);
      }
    }
    if (past.times.length > 300) {
      past.times.shift();
      for (const columns of Object.values(past.servers)) Object.values(columns).forEach((values) => values.shift());
    }
  }
}

function show() {
  const one = latest.servers.find(({ server }) => server.id === chosen) ?? latest.servers[0];
  status.show(latest, one);
  panels.forEach((panel) => panel.show(one));
  charts.forEach((chart) => chart.add(latest.time, one.point));
  errors.show(latest);
  processes.show(latest);
  document.title = `${count(one.connections.open)} connected – ${one.server.name || "mooring"}`;
}

function offerServers(servers) {
  const select = $("#server");
  const ids = servers.map(({ server }) => server.id);
  select.parentElement.hidden = ids.length < 2;
  if ([...select.options].map(({ value }) => value).join("\n") !== ids.join("\n")) {
    select.replaceChildren(...servers.map(({ server }) => element("option", { value: server.id }, server.name || server.description)));
    if (!ids.includes(chosen)) chosen = ids[0];
    select.value = chosen;
  }
}

// What the strip does ----------------------------------------------------------------------------------------------

$("#server").addEventListener("change", (event) => {
  chosen = event.target.value;
  redraw();
  table.of(chosen);
  show();
});

$("#freeze").addEventListener("click", (event) => {
  frozen = !frozen;
  event.target.setAttribute("aria-pressed", String(frozen));
  event.target.textContent = frozen ? "Frozen" : "Freeze page";
  if (!frozen && latest) {
    redraw();
    show();
  }
});

$("#theme").addEventListener("click", () => {
  theme.toggle();
  charts.forEach((chart) => chart.restyle());
});

$("#suspend").addEventListener("click", async () => {
  const one = latest.servers.find(({ server }) => server.id === chosen) ?? latest.servers[0];
  const path = `/servers/${encodeURIComponent(one.server.id)}/accepting`;
  if (one.server.state === "suspended") {
    await doing(() => post(path, { accepting: true }));
    return;
  }
  const text = "New devices wait in the kernel's queue until it is full, then they are refused. Those connected stay.";
  if (await ask({ title: "Suspend accepting?", text, button: "Suspend" })) await doing(() => post(path, { accepting: false }));
});

$("#drain").addEventListener("click", async () => {
  const text = "What was read is served and answered, then all connections are closed and the process ends.";
  if (await ask({ title: "End the server?", text, button: "Drain", typed: "drain" })) await doing(() => post("/drain"));
});

$("#log-level").addEventListener("change", async (event) => {
  const level = event.target.value;
  event.target.blur();
  await doing(() => post("/log-level", { level, seconds: 600 }));
});

$("#diagnostics").addEventListener("click", async () => {
  try {
    const told = await get("/diagnostics");
    const link = element("a", {
      href: `data:application/json;charset=utf-8,${encodeURIComponent(JSON.stringify(told, null, 1))}`,
      download: `mooring-diagnostics-${latest.process.pid}.json`,
    });
    link.click();
  } catch (error) {
    notice(error.message, true);
  }
});

await takeToken();
table.start(() => frozen);
connect();
