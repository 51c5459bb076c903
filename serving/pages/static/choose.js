// Lists of which some are chosen: "all of this machine", how many are chosen, and a refresh that disturbs nobody.
const REFRESH_MS = 15000;

function count(form) {
  const chosen = form.querySelectorAll('input[name="alert_ids"]:checked').length;
  for (const place of form.querySelectorAll("[data-chosen]")) place.textContent = chosen;
  for (const place of form.querySelectorAll("[data-waits]")) place.hidden = !chosen;
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-choose]");
  if (!form) return;
  const group = event.target.closest("[data-group]");
  const boxes = group ? [...group.querySelectorAll('input[name="alert_ids"]')] : [];
  const all = group?.querySelector("[data-all]");
  if (event.target === all) for (const box of boxes) box.checked = all.checked;
  else if (all) all.checked = boxes.every((box) => box.checked);
  count(form);
});

// The list is asked for again while nobody is choosing or writing in it.
setInterval(() => {
  const list = document.querySelector("[data-refresh]");
  const isUsed = list?.contains(document.activeElement) || list?.querySelector("input:checked");
  if (list && !isUsed && !document.hidden) htmx.ajax("GET", list.dataset.refresh + location.search, { target: "#list" });
}, REFRESH_MS);
