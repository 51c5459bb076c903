// A machine's values as they are stored, over the WebSocket. A connection that is lost heals by itself.
import { formatNumber } from "./number.js";
import { duration, setAge } from "./time.js";

const FIRST_RETRY_MS = 1000, LONGEST_RETRY_MS = 30000, SILENT_MS = 45000;
const NO_RETRY = new Set([4403, 4404, 4422]);
const place = document.querySelector("[data-live]");
let socket, retryMs = FIRST_RETRY_MS, watch, newest = new Date(place.dataset.newest);

function say(text, isLive = false) {
  const element = place.querySelector("[data-stream]");
  if (element) { element.textContent = text; element.classList.toggle("live", isLive); }
}

// A metric that the page does not show yet, and alerts, need the page's part anew; not more often than this.
const REFRESH_MS = 3000;
let refreshing;
function refresh() {
  refreshing ??= setTimeout(() => { refreshing = undefined; htmx.trigger(place, "energy:refresh"); }, REFRESH_MS);
}

const BESIDE = new Set(["timestamp", "device_id", "schema_version", "enrichment_status", "out_of_band"]);

function show(reading) {
  if (Object.keys(reading).some((name) => !BESIDE.has(name) && reading[name] != null && !place.querySelector(`[data-metric="${name}"]`))) refresh();
  for (const element of place.querySelectorAll("[data-metric]")) {
    const value = reading[element.dataset.metric];
    if (value == null) continue;
    element.querySelector("[data-value]").textContent = formatNumber(value, element.dataset.unit);
    const { low, high } = element.dataset;
    const isOut = low !== undefined && (value < Number(low) || value > Number(high));
    element.classList.toggle("out", isOut);
    const out = element.querySelector("[data-out]");
    if (out) out.hidden = !isOut;
    const time = element.querySelector("time");
    if (time) setAge(time, new Date(reading.timestamp));
  }
  const seen = document.querySelector("[data-seen]");
  if (seen && !seen.querySelector("time")) seen.replaceChildren("seen ", document.createElement("time"));
  if (seen) setAge(seen.querySelector("time"), new Date());
  newest = new Date();
  sending(newest);
}

// The machine is live as long as it sends: after the time that the server names it is silent.
let fallsSilent;
function sending(newest) {
  clearTimeout(fallsSilent);
  const silentAfter = Number(place.dataset.silentAfter), left = silentAfter * 1000 - (Date.now() - newest);
  if (!(left > 0)) { say(isNaN(newest) ? "waits for the first reading" : `silent: nothing for more than ${duration(silentAfter)}`); return; }
  say("live", true);
  fallsSilent = setTimeout(sending, left + 1000, newest);
}

function connect() {
  const url = new URL(place.dataset.live, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  // The stream has a heartbeat; without any frame the connection is dead, even if nobody has said so.
  const alive = () => { clearTimeout(watch); watch = setTimeout(() => socket.close(), SILENT_MS); };
  socket.addEventListener("open", () => { retryMs = FIRST_RETRY_MS; sending(newest); alive(); });
  socket.addEventListener("message", (event) => {
    alive();
    const frame = JSON.parse(event.data);
    if (frame.type === "telemetry") show(frame.data);
    else if (frame.type === "alert" || frame.type === "dropped") refresh();
  });
  socket.addEventListener("close", (event) => {
    clearTimeout(watch);
    clearTimeout(fallsSilent);
    if (event.code === 4401) { location.reload(); return; }
    if (NO_RETRY.has(event.code)) { say(event.reason); return; }
    say("not live; connecting again …");
    setTimeout(connect, retryMs);
    retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2);
  });
}

// Where the platform does not answer nothing is live, also before the connection is known to be dead.
document.addEventListener("energy:lost", () => { clearTimeout(fallsSilent); say("not live: the platform does not answer"); });
document.addEventListener("energy:back", () => { if (socket.readyState === WebSocket.OPEN) sending(newest); });
connect();
