// What happened since this browser was here last. A visit ends when half an hour passes without one.
const KEY = "energy.visit", BREAK_MS = 30 * 60 * 1000, DAY_MS = 24 * 60 * 60 * 1000;
const place = document.querySelector("[data-visit]");
const now = Date.now();
const known = JSON.parse(localStorage.getItem(KEY) ?? "null") ?? { since: now - DAY_MS, last: now };
const since = now - known.last > BREAK_MS ? known.last : known.since;
const note = () => localStorage.setItem(KEY, JSON.stringify({ since, last: Date.now() }));
note();
setInterval(() => document.visibilityState === "visible" && note(), 60 * 1000);
htmx.ajax("GET", `${place.dataset.visit}?since=${encodeURIComponent(new Date(since).toISOString())}`, { target: place, swap: "innerHTML" });
