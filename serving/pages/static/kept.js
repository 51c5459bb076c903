// What was typed when the session had ended is in its form again after signing in.
import { tell } from "./notices.js";

const KEY = "energy.kept", HERE = location.pathname + location.search;
const AGAIN = "Your session had ended, so nothing was changed. What you had typed is here again; send it again.";

function keep({ detail: { ctx } }) {
  const form = ctx.sourceElement.closest("form"), to = ctx.response.headers.get("HX-Redirect") ?? "";
  if (!form || ctx.request.method === "GET" || !/(^|\/)login\?/.test(to)) return;
  sessionStorage.setItem(KEY, JSON.stringify({ page: HERE, action: form.getAttribute("action"), fields: [...new FormData(form)] }));
}

function giveBack() {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (kept?.page !== HERE) return;
  sessionStorage.removeItem(KEY);
  const form = [...document.forms].find((one) => one.getAttribute("action") === kept.action);
  if (!form) return;
  for (const field of form.elements) {
    const values = kept.fields.filter(([name]) => name === field.name).map(([, value]) => value);
    if (field.matches('[type="checkbox"], [type="radio"]')) field.checked = values.includes(field.value);
    else if (values.length && field.matches('input:not([type="hidden"]), select, textarea')) field.value = values[0];
  }
  form.dispatchEvent(new Event("change", { bubbles: true }));
  tell(AGAIN);
}

export function watchKept() {
  document.addEventListener("htmx:after:request", keep);
  // The scripts of the page listen by then.
  window.addEventListener("load", giveBack);
}
