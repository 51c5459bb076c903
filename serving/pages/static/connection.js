// Says when the platform does not answer, and takes it back when it does again.
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

export function connectionLost() {
  if (lost) return;
  show(true);
  setTimeout(retry, RETRY_MS);
}

export function watchConnection() {
  document.addEventListener("htmx:error", (event) => {
    const error = event.detail.error;
    // htmx gives up with the word "timeout".
    if (event.detail.ctx && (error instanceof TypeError || error === "timeout")) connectionLost();
  });
  // A proxy's error is not shown as a part of the page.
  document.addEventListener("htmx:before:response", (event) => {
    const { status, headers } = event.detail.ctx.response;
    if (status >= 500 && !headers.has("X-Page-Files")) { event.preventDefault(); connectionLost(); }
  });
  window.addEventListener("offline", connectionLost);
}
