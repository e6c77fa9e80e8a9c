// What the two pools' panels share.

import { $, element } from "./dom.js";

// The bounds as they are, unless somebody is typing others.
export function fill(form, { min_size, max_size }) {
  if (!form.dataset.watched) {
    form.dataset.watched = "yes";
    form.addEventListener("input", () => { form.dataset.edited = "yes"; });
  }
  if (form.dataset.edited) return;
  form.min.value = min_size;
  form.max.value = max_size;
}

// Whether the panel has something to show; if not it keeps its place and says why.
export function marked(panel, there, why) {
  panel.classList.toggle("absent", !there);
  const note = $(".absence", panel);
  if (there) note?.remove();
  else if (!note) panel.append(element("p", { class: "absence" }, why));
  for (const control of panel.querySelectorAll("button, input")) control.disabled = !there;
  return Boolean(there);
}
