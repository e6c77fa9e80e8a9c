// Light or dark: the system's choice, unless somebody has chosen here.

const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

export function apply() {
  root.dataset.theme = localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
}

export function toggle() {
  localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
  apply();
}

export function onSystemChange(then) {
  system.addEventListener("change", () => {
    apply();
    then();
  });
}
