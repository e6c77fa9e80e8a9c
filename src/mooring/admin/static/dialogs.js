// Questions before dangerous things, and short notices of what came of them.

import { $ } from "./dom.js";

export function ask({ title, text, button = "Do it", typed = null }) {
  const dialog = $("#ask");
  $("#ask-title").textContent = title;
  $("#ask-text").textContent = text;
  const yes = $("#ask-yes");
  yes.textContent = button;
  const label = $("#ask-typed");
  const input = $("input", label);
  label.hidden = typed === null;
  input.value = "";
  yes.disabled = typed !== null;
  $("span", label).textContent = `Type “${typed}” to confirm:`;
  input.oninput = () => {
    yes.disabled = typed !== null && input.value.trim() !== typed;
  };
  dialog.returnValue = "no";
  dialog.showModal();
  (typed === null ? yes : input).focus();
  return new Promise((done) => {
    dialog.onclose = () => done(dialog.returnValue === "yes" && (typed === null || input.value.trim() === typed));
  });
}

let timer = 0;

export function notice(text, bad = false) {
  const box = $("#notice");
  box.textContent = text;
  box.className = bad ? "shown bad" : "shown";
  clearTimeout(timer);
  timer = setTimeout(() => { box.className = ""; }, bad ? 8000 : 4000);
  // A modal dialog covers everything else: the notice goes where the user looks.
  const open = document.querySelector("dialog[open]");
  (open ?? document.body).append(box);
}

// Does something and tells how it went; true if it was done.
export async function doing(action) {
  try {
    const told = await action();
    notice(told.detail ?? "done");
    return true;
  } catch (error) {
    notice(error.message, true);
    return false;
  }
}
