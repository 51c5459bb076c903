// Lists of which some are chosen: "all of this machine", how many are chosen, and a refresh that disturbs nobody.
const REFRESH_MS = 15000, BOX = 'input[name="alert_ids"]';

function count(form) {
  const chosen = form.querySelectorAll(`${BOX}:checked`).length;
  for (const place of form.querySelectorAll("[data-chosen]")) place.textContent = chosen;
  for (const place of form.querySelectorAll("[data-waits]")) place.hidden = !chosen;
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-choose]");
  if (!form) return;
  const group = event.target.closest("[data-group]");
  const boxes = group ? [...group.querySelectorAll(BOX)] : [];
  const all = group?.querySelector("[data-all]");
  if (event.target === all) for (const box of boxes) box.checked = all.checked;
  else if (all) all.checked = boxes.every((box) => box.checked);
  count(form);
});

const addressOf = (list) => list.dataset.refresh + location.search;
const idsIn = (root) => [...root.querySelectorAll("[data-alert]")].map((row) => row.dataset.alert);

// How many alerts a list that is in use does not show yet.
async function tellNew(list) {
  const response = await fetch(new URL(addressOf(list), document.baseURI), { headers: { "HX-Request": "true" } });
  if (!response.ok) return;
  const known = new Set(idsIn(list)), page = new DOMParser().parseFromString(await response.text(), "text/html");
  const more = idsIn(page).filter((id) => !known.has(id)).length;
  for (const place of list.querySelectorAll("[data-new]")) {
    place.hidden = !more;
    place.querySelector("[data-count]").textContent = more === 1 ? "1 new alert" : `${more} new alerts`;
  }
}

// The new list has what was chosen and written in the one before.
async function showNew(list) {
  const chosen = new Set([...list.querySelectorAll(`${BOX}:checked`)].map((box) => box.value)), note = list.querySelector('[name="note"]')?.value;
  await htmx.ajax("GET", addressOf(list), { target: "#list" });
  for (const box of list.querySelectorAll(BOX)) box.checked = chosen.has(box.value);
  const field = list.querySelector('[name="note"]'), form = list.querySelector("[data-choose]");
  if (field && note) field.value = note;
  if (form) count(form);
}

document.addEventListener("click", ({ target }) => { if (target.closest("[data-show-new]")) showNew(target.closest("[data-refresh]")); });

// The list is asked for again while nobody is choosing or writing in it.
export function refresh() {
  const list = document.querySelector("[data-refresh]");
  if (!list || document.hidden) return;
  const isUsed = list.contains(document.activeElement) || list.querySelector("input:checked");
  if (isUsed) tellNew(list).catch(() => {}); // the counts above notice a lost connection
  else htmx.ajax("GET", addressOf(list), { target: "#list" });
}
setInterval(refresh, REFRESH_MS);
document.addEventListener("energy:back", refresh);
