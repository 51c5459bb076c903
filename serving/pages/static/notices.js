// What a request was told stays until it succeeds, or until somebody does something else; parts that renew themselves do
// not clear it. What an earlier request had done is not said beside it.
let refused;

export function watchNotices() {
  document.addEventListener("htmx:after:request", (event) => {
    const { response, request, sourceElement: source } = event.detail.ctx;
    if (response.status >= 400) {
      refused = source;
      if (request.method !== "GET") for (const done of document.querySelectorAll(".done:not([data-keep])")) done.remove();
    } else if (source === refused || source.matches("form, button, a, input, select")) document.getElementById("notice").replaceChildren();
  });
}

// A second click while the first one is under way, or leads to another page, does nothing.
export function watchDoubleClicks() {
  document.addEventListener("submit", (event) => {
    if (event.target.matches(".htmx-request, [data-leaving]")) { event.preventDefault(); event.stopImmediatePropagation(); }
  }, true);
  document.addEventListener("htmx:after:request", (event) => {
    const { response, sourceElement: source } = event.detail.ctx;
    if (response.headers.has("HX-Redirect")) source.dataset.leaving = "";
  });
}

// A field that asks for the same each time, such as who somebody is, is filled with what was written last.
export function watchRemembered() {
  const fill = () => {
    for (const field of document.querySelectorAll("[data-remember]")) field.value ||= localStorage.getItem(`energy.${field.dataset.remember}`) ?? "";
  };
  document.addEventListener("change", ({ target }) => {
    if (target.dataset.remember) localStorage.setItem(`energy.${target.dataset.remember}`, target.value);
  });
  document.addEventListener("htmx:after:swap", fill);
  fill();
}
