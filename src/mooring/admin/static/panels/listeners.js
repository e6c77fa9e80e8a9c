// Where the server listens: a row for each listener, and whether it accepts there.

import { post } from "../api.js";
import { ask, doing } from "../dialogs.js";
import { $, element, setText } from "../dom.js";
import { count } from "../format.js";

const body = $("#listeners tbody");

export function show(one) {
  const { id, listeners, state } = one.server;
  while (body.children.length > listeners.length) body.lastChild.remove();
  listeners.forEach((listener, index) => {
    let row = body.children[index];
    if (!row) {
      row = element("tr", {}, element("td"), element("td", { class: "n" }), element("td"),
        element("td", { class: "n operate" }, element("button", { type: "button", onclick: () => change(row) })));
      body.append(row);
    }
    row.listener = { id, ...listener };
    const [address, accepted, accepting, action] = row.children;
    setText(address, listener.address);
    setText(accepted, count(listener.accepted));
    setText(accepting, listener.accepting ? "accepting" : "suspended");
    setText(action.firstChild, listener.accepting ? "Suspend" : "Resume");
    action.firstChild.setAttribute("aria-label", `${action.firstChild.textContent} ${listener.address}`);
    action.firstChild.disabled = !["running", "suspended"].includes(state);
  });
}

async function change(row) {
  const { id, address, accepting } = row.listener;
  const text = `New devices at ${address} wait in the kernel's queue until it is full. Those connected stay.`;
  if (accepting && !(await ask({ title: "Suspend this listener?", text, button: "Suspend" }))) return;
  await doing(() => post(`/servers/${encodeURIComponent(id)}/accepting`, { accepting: !accepting, address }));
}
