// Who works by keyboard keeps their place: if a swap takes away what had the focus, the control that is the same now has
// it, or one of the same name such as Resume after Pause, or else the part of the page in which it was.
const NEAR = "a, button, input, select, textarea, summary";
const textOf = (element) => element.textContent.replace(/[▲▼]/g, "").trim();
let place;

function remember() {
  const element = document.activeElement, areas = [];
  for (let area = element?.closest("[id]"); area; area = area.parentElement?.closest("[id]")) areas.push(area.id);
  place = element && element !== document.body && { element, areas };
}

function restore() {
  const { element, areas } = place ?? {};
  if (!element || element.isConnected || document.activeElement !== document.body) return;
  const area = areas.map((id) => document.getElementById(id)).find((found) => found?.checkVisibility());
  if (!area) return;
  const alike = [...area.querySelectorAll(NEAR)].filter((one) => one.tagName === element.tagName && one.checkVisibility());
  const named = element.name ? alike.filter((one) => one.name === element.name) : [];
  const next =
    named.find((one) => one.value === element.value) ?? named[0] ??
    alike.find((one) => one.href && one.href === element.href) ?? alike.find((one) => textOf(one) === textOf(element)) ?? area;
  if (next === area && area.tabIndex < 0) area.tabIndex = -1;
  next.focus({ preventScroll: true });
}

export function watchFocus() {
  document.addEventListener("htmx:before:swap", remember);
  document.addEventListener("htmx:after:swap", restore);
}
