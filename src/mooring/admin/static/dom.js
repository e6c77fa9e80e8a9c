// Elements made from text. What a device chose is never parsed: it goes in as text only.

export const $ = (selector, root = document) => root.querySelector(selector);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A list of (term, value) in a dl, updated in place, so that nothing jumps and a selection stays.
export function setPairs(list, pairs, none = "none yet") {
  const rows = pairs.length ? pairs : [[none, ""]];
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(([term, value, options = {}], index) => {
    let row = list.children[index];
    if (!row) {
      row = element("div", {}, element("dt"), element("dd"));
      list.append(row);
    }
    row.className = pairs.length ? (options.all ? "all" : "") : "none";
    if (options.level) row.dataset.level = options.level;
    else delete row.dataset.level;
    setText(row.firstChild, term);
    row.firstChild.title = options.title ?? "";
    setText(row.lastChild, String(value));
    if (options.all) row.lastChild.title = String(value);
  });
}

// Big numbers: [name, [value, unit], level, title].
export function setNumbers(list, numbers) {
  if (list.children.length !== numbers.length) {
    list.replaceChildren(
      ...numbers.map(() => element("div", {}, element("dt"), element("dd", {}, element("span"), element("small")))),
    );
  }
  numbers.forEach(([name, [value, unit], level, title], index) => {
    const row = list.children[index];
    setText(row.firstChild, name);
    row.title = title ?? "";
    row.dataset.level = level ?? "";
    setText(row.lastChild.firstChild, value);
    setText(row.lastChild.lastChild, unit);
  });
}

// Rows of cells, each a text or {text, class, title, level, href}; updated in place.
export function setRows(body, rows, none = "none") {
  const shown = rows.length ? rows : [[{ text: none, class: "muted" }]];
  while (body.children.length > shown.length) body.lastChild.remove();
  shown.forEach((cells, index) => {
    let row = body.children[index];
    if (!row || row.children.length !== cells.length) {
      const made = element("tr", {}, ...cells.map(() => element("td")));
      if (row) row.replaceWith(made);
      else body.append(made);
      row = made;
    }
    cells.forEach((cell, column) => {
      const { text, class: kind = "", title = "", level = "", href = null } = typeof cell === "object" ? cell : { text: cell };
      const place = row.children[column];
      if (href) setLink(place, String(text), href);
      else setText(place, String(text));
      if (place.className !== kind) place.className = kind;
      place.title = title;
      place.dataset.level = level;
    });
  });
}

// A link to another page of ours; where it goes is said by the server, never by a device.
function setLink(place, text, href) {
  const link = place.firstElementChild;
  if (link?.href === new URL(href).href) setText(link, text);
  else place.replaceChildren(element("a", { href, target: "_blank", rel: "noopener" }, text));
}

// Bars for a histogram: [label, count].
export function setBars(box, bars, total) {
  const most = Math.max(1, ...bars.map(([, count]) => count));
  while (box.children.length > bars.length) box.lastChild.remove();
  bars.forEach(([label, count], index) => {
    let bar = box.children[index];
    if (!bar) {
      const parts = ["count", "fill", "label"].map((name) => element("span", { class: name }));
      bar = element("span", { class: "bar" }, ...parts);
      box.append(bar);
    }
    const [number, fill, name] = bar.children;
    setText(number, count ? compact(count) : "");
    setText(name, bars.length > 9 && index % 2 ? "" : label); // else they would lie on top of each other
    fill.style.height = `${Math.round((count / most) * 54)}px`;
    bar.title = `${label}: ${count}`;
  });
  box.setAttribute("aria-label", bars.map(([label, count]) => `${label}: ${count}`).join(", ") || `${total ?? "nothing"}`);
}

function compact(count) {
  return count < 10000 ? String(count) : Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(count);
}
