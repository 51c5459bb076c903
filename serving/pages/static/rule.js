// The rule's form: the slider and the number are one, and every change asks for the preview again.
const form = document.getElementById("rule");
const QUIET_MS = 350;
let waiting;

function ask() {
  clearTimeout(waiting);
  waiting = setTimeout(() => htmx.trigger("#preview", "rule-changed"), QUIET_MS);
  const empty = document.querySelector("#preview > .empty p");
  if (empty && form.threshold.value) empty.textContent = "The preview is being calculated …";
}

function shown() {
  const condition = form.condition.value, isSilence = condition === "no_data";
  for (const part of form.querySelectorAll('[data-of="metric"]')) part.hidden = isSilence;
  for (const part of form.querySelectorAll('[data-of="values"]')) part.hidden = isSilence || condition === "outside_forecast";
  for (const part of form.querySelectorAll('[data-of="selected_devices"]')) part.hidden = form.scope.value !== "selected_devices";
}

// As the platform reads it: a comma may stand for the point.
const numberOf = (text) => Number(text.trim().replace(",", "."));

if (form) {
  const slider = document.getElementById("slider"), number = form.threshold;
  if (number.value) slider.value = numberOf(number.value);
  slider.addEventListener("input", () => { number.value = Number(Number(slider.value).toPrecision(4)); ask(); });
  number.addEventListener("input", () => { slider.value = numberOf(number.value); });
  form.addEventListener("input", ask);
  form.addEventListener("change", () => { shown(); ask(); });
  document.addEventListener("change", (event) => { if (event.target.id === "chart_device") ask(); });
  // The slider reaches over what the metric has been.
  document.addEventListener("energy:chart", (event) => {
    const values = event.detail.series.flatMap((one) => [...(one.low ?? one.values), ...(one.high ?? [])]).filter((v) => v != null);
    if (!values.length) return;
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b)), now = number.value ? numberOf(number.value) : high;
    const margin = (high - low || Math.abs(high) || 1) * 0.1;
    // What is never below zero is not watched there.
    slider.min = Math.min(low < 0 ? low - margin : Math.max(0, low - margin), now); slider.max = Math.max(high + margin, now);
    slider.value = now;
  });
  shown();
}
