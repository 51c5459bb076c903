// The preferences of this browser: written as they are chosen, and shown at once.
import { prefer, preference } from "./preferences.js";
import { localTime } from "./time.js";

function now() {
  for (const place of document.querySelectorAll("[data-now]")) place.textContent = localTime(new Date());
}

for (const select of document.querySelectorAll("[data-preference]")) {
  const name = select.dataset.preference;
  select.value = preference(name);
  select.addEventListener("change", () => { prefer(name, select.value); now(); });
}
now();
