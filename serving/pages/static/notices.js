// What a request was told stays until it succeeds, or until somebody does something else; parts that renew themselves do
// not clear it. What an earlier request had done is not said beside it. The fields that it names are marked in the form.
let refused;

function mark(form) {
  unmark();
  const notice = document.querySelector("#notice [data-fields]"), wrong = [];
  for (const name of notice?.dataset.fields.split("|") ?? []) {
    const labels = name ? [...form.querySelectorAll("label"), ...form.querySelectorAll("legend")] : [];
    const label = labels.find((one) => one.textContent.trim().startsWith(name)), field = label?.control ?? label?.closest("fieldset");
    if (field) wrong.push(field);
  }
  for (const field of wrong) { field.setAttribute("aria-invalid", "true"); field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} notice`.trim()); }
  (wrong[0]?.matches("fieldset") ? wrong[0].querySelector("input") : wrong[0])?.focus();
}

function unmark() {
  for (const field of document.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    const others = field.getAttribute("aria-describedby").replace(/ ?\bnotice$/, "");
    if (others) field.setAttribute("aria-describedby", others); else field.removeAttribute("aria-describedby");
  }
}

// A notice that this page makes itself; it stays as one of the platform does.
export function tell(text) {
  const place = document.createElement("div"), line = document.createElement("p");
  place.className = "problem";
  line.textContent = text;
  place.append(line);
  document.getElementById("notice").replaceChildren(place);
}

export function watchNotices() {
  document.addEventListener("htmx:after:request", (event) => {
    const { response, request, sourceElement: source } = event.detail.ctx;
    if (response.status >= 400) {
      refused = source;
      if (request.method !== "GET") for (const done of document.querySelectorAll(".done:not([data-keep])")) done.remove();
    } else if (source === refused || source.matches("form, button, a, input, select")) {
      document.getElementById("notice").replaceChildren();
      unmark();
    }
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const { response, request, sourceElement: source } = event.detail.ctx;
    const form = source.closest("form");
    if (form && response.status === 422 && request.method !== "GET") mark(form);
    // What was done is said where people look, also if the list in which it stands has become shorter.
    if (response.status < 400 && request.method !== "GET") document.querySelector("main .done, main .problem[role]")?.scrollIntoView({ block: "nearest" });
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
