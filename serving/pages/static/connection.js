// Says when the platform does not answer, and takes it back when it does again.
import { tell } from "./notices.js";

const UNSURE = "The platform did not answer, so it is not known whether this was done. Look at the page again before you repeat it.";
const RETRY_MS = 3000;
let lost = false;

function show(isLost) {
  lost = isLost;
  document.getElementById("connection").hidden = !isLost;
}

async function retry() {
  try {
    const answer = await fetch(new URL("health", document.querySelector("a.brand").href), { cache: "no-store", signal: AbortSignal.timeout(RETRY_MS) });
    if (!answer.ok) throw new Error(answer.status);
    show(false);
    document.dispatchEvent(new CustomEvent("energy:back"));
  } catch {
    setTimeout(retry, RETRY_MS);
  }
}

// A preview is asked for with the whole form, and changes nothing.
const isWrite = ({ request, sourceElement }) => request.method !== "GET" && !sourceElement.matches("[data-asks]");

export function connectionLost() {
  if (lost) return;
  show(true);
  document.dispatchEvent(new CustomEvent("energy:lost"));
  setTimeout(retry, RETRY_MS);
}

export function watchConnection() {
  document.addEventListener("htmx:error", (event) => {
    const error = event.detail.error;
    // htmx gives up with the word "timeout".
    const { ctx } = event.detail;
    if (!ctx || !(error instanceof TypeError || error === "timeout")) return;
    connectionLost();
    if (isWrite(ctx)) tell(UNSURE);
  });
  // A proxy's error is not shown as a part of the page.
  document.addEventListener("htmx:before:response", (event) => {
    const { status, headers } = event.detail.ctx.response;
    if (status < 500 || headers.has("X-Page-Files")) return;
    event.preventDefault();
    connectionLost();
    if (isWrite(event.detail.ctx)) tell(UNSURE);
  });
  window.addEventListener("offline", connectionLost);
}
