// The first page on a wall: it fills the screen, keeps it awake, has a clock, and shows as many machines as fit.
// `?wall=1` opens it so, for a browser that starts by itself.
import { localTime } from "./time.js";

const page = document.documentElement;
const button = document.querySelector("[data-wall]"), clock = document.querySelector("[data-clock]");
const machines = document.getElementById("worst"), limit = document.getElementById("limit");
const LIMIT = limit.value, LIMIT_ON_WALL = 40, WIDE = "(min-width: 60rem)";
let lock;

const isWall = () => page.classList.contains("wall");

function show(on) {
  if (on === isWall()) return;
  page.classList.toggle("wall", on);
  button.textContent = on ? "Leave full screen" : "Full screen";
  limit.value = on ? LIMIT_ON_WALL : LIMIT;
  const here = new URL(location.href);
  if (on) here.searchParams.set("wall", "1");
  else here.searchParams.delete("wall");
  history.replaceState(null, "", here);
  htmx.trigger(machines, "energy:refresh");
  fit();
  stayAwake();
}

// As large as all machines fit. The worst come first: if they do not fit at all, those at the end are left out.
function fit() {
  const cards = [...machines.querySelectorAll("li")];
  for (const card of cards) card.hidden = false;
  delete page.dataset.size;
  if (!isWall() || !matchMedia(WIDE).matches) return;
  scrollTo(0, 0);
  const cut = () => cards.filter((card, i) => i && card.getBoundingClientRect().bottom > innerHeight);
  for (const size of ["large", "middle", "small"]) {
    page.dataset.size = size;
    if (!cut().length) return;
  }
  for (const card of cut()) card.hidden = true;
}

// Browsers grant it where the page is secure: over HTTPS, or on this computer.
async function stayAwake() {
  if (!isWall()) { lock?.release(); lock = undefined; return; }
  if (document.hidden || (lock && !lock.released)) return;
  lock = await navigator.wakeLock?.request("screen").catch(() => undefined);
}

function tick() {
  const now = localTime(new Date(), { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  if (clock.textContent !== now) clock.textContent = now;
}

button.addEventListener("click", () => {
  const on = !isWall();
  show(on);
  if (on) page.requestFullscreen?.().catch(() => {}); // the page fills the window where a browser refuses
  else if (document.fullscreenElement) document.exitFullscreen();
});
document.addEventListener("fullscreenchange", () => show(Boolean(document.fullscreenElement)));
document.addEventListener("visibilitychange", stayAwake);
document.addEventListener("htmx:after:swap", fit);
window.addEventListener("resize", fit);
// After an update of the platform the page takes the new scripts and styles by itself.
document.addEventListener("htmx:after:request", (event) => {
  const files = event.detail.ctx.response?.headers?.get("X-Page-Files");
  if (files && files !== page.dataset.files) location.reload();
});
tick();
setInterval(tick, 1000);
if (new URLSearchParams(location.search).has("wall")) show(true);
