// What happened since this browser was here last. A visit ends when half an hour passes without one.
const KEY = "energy.visit", BREAK_MS = 30 * 60 * 1000, DAY_MS = 24 * 60 * 60 * 1000, AGAIN_MS = 60 * 1000;
const place = document.querySelector("[data-visit]");

function visit() {
  if (document.hidden) return;
  const now = Date.now();
  const known = JSON.parse(localStorage.getItem(KEY) ?? "null") ?? { since: now - DAY_MS, last: now };
  const since = now - known.last > BREAK_MS ? known.last : known.since;
  localStorage.setItem(KEY, JSON.stringify({ since, last: now }));
  htmx.ajax("GET", `${place.dataset.visit}?since=${encodeURIComponent(new Date(since).toISOString())}`, { target: place, swap: "innerMorph" });
}

visit();
setInterval(visit, AGAIN_MS);
document.addEventListener("visibilitychange", visit);
