// Who is connected: a page of the table, sorted and searched by the server.

import { get } from "../api.js";
import { $, element, setText } from "../dom.js";
import { bytes, count, duration, joined } from "../format.js";
import { open } from "../one.js";

const PAGE = 50;
const EVERY = 2000;
const COLUMNS = [
  { key: "name", title: "name", cell: (row) => row.name ?? `connection ${row.id}` },
  { key: "peer", title: "address", cell: (row) => row.peer.replace("tcp://", "") },
  { key: "connected", title: "connected for", less: true, right: true, cell: (row) => duration(Date.now() / 1000 - row.connected_at) },
  { key: "silence", title: "silent for", right: true, cell: (row) => duration(row.silence) },
  { key: "messages", title: "messages in", right: true, less: true, cell: (row) => count(row.messages) },
  { key: "waiting", title: "waiting out", right: true, less: true, cell: (row) => joined(bytes(row.waiting)) },
  { key: "errors", title: "errors", right: true, less: true, cell: (row) => count(row.errors), level: (row) => (row.errors ? "serious" : "") },
  { key: "id", title: "number", right: true, less: true, cell: (row) => String(row.id) },
];

const panel = $("#table");
const body = $("tbody", panel);
const query = { sort: "id", order: "desc", offset: 0, search: "", server: undefined };
let matching = 0;
let visible = false;
let asked = 0;
let frozen = () => false;

export function start(isFrozen) {
  frozen = isFrozen;
  const head = $("thead tr", panel);
  head.replaceChildren(...COLUMNS.map((column) => element("th", { class: kind(column), scope: "col" },
    element("button", { type: "button", "data-key": column.key, onclick: () => sort(column.key) }, column.title))));
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (visible) refresh();
  }).observe(panel);
  let timer = 0;
  $("#search").addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      query.search = event.target.value.trim();
      query.offset = 0;
      refresh();
    }, 200);
  });
  $("#previous").addEventListener("click", () => turn(-PAGE));
  $("#next").addEventListener("click", () => turn(PAGE));
  setInterval(() => {
    if (visible && !document.hidden && !frozen()) refresh();
  }, EVERY);
  mark();
}

export function of(server) {
  if (query.server === server) return;
  query.server = server;
  query.offset = 0;
  refresh();
}

function kind({ right, less }) {
  return [right ? "n" : "", less ? "less" : ""].join(" ").trim();
}

function sort(key) {
  query.order = query.sort === key && query.order === "asc" ? "desc" : "asc";
  if (query.sort !== key && ["silence", "messages", "waiting", "errors"].includes(key)) query.order = "desc";
  query.sort = key;
  query.offset = 0;
  mark();
  refresh();
}

function mark() {
  COLUMNS.forEach(({ key, title }, index) => {
    const head = $("thead tr", panel).children[index];
    const here = key === query.sort;
    if (here) head.setAttribute("aria-sort", query.order === "asc" ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
    setText(head.firstChild, here ? `${title} ${query.order === "asc" ? "▴" : "▾"}` : title);
  });
}

function turn(by) {
  query.offset = Math.max(0, Math.min(query.offset + by, Math.floor(Math.max(0, matching - 1) / PAGE) * PAGE));
  refresh();
}

export async function refresh() {
  const number = (asked += 1);
  let page;
  try {
    page = await get("/connections", { ...query, limit: PAGE });
  } catch {
    return; // the stream tells of a server that is away
  }
  if (number !== asked) return; // another question has been asked meanwhile
  matching = page.matching;
  show(page);
}

function show(page) {
  while (body.children.length > page.rows.length) body.lastChild.remove();
  page.rows.forEach((row, index) => {
    let line = body.children[index];
    if (!line) {
      line = element("tr", {}, ...COLUMNS.map((column) => element("td", { class: kind(column) })));
      line.firstChild.append(element("button", { type: "button", class: "name", onclick: () => open(Number(line.dataset.id)) }));
      body.append(line);
    }
    line.dataset.id = row.id;
    COLUMNS.forEach((column, place) => {
      const text = column.cell(row);
      const cell = line.children[place];
      setText(place === 0 ? cell.firstChild : cell, text);
      cell.title = text;
      cell.dataset.level = column.level?.(row) ?? "";
    });
  });
  const first = page.rows.length ? page.offset + 1 : 0;
  setText($("#range"), `${count(first)}–${count(page.offset + page.rows.length)} of ${count(page.matching)}`);
  setText($("#matching"), query.search ? `${count(page.matching)} of ${count(page.total)} match` : "");
  $("#previous").disabled = page.offset === 0;
  $("#next").disabled = page.offset + page.rows.length >= page.matching;
}
