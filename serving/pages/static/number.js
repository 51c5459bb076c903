// Figures as `serving/pages/display.py` writes them: three digits that matter, a prefix that fits.
import { preference } from "./preferences.js";

const PREFIXED = { W: ["W", "kW", "MW", "GW"], kWh: ["Wh", "kWh", "MWh", "GWh"], B: ["B", "kB", "MB", "GB"] };
const OWN_PREFIX = { kWh: 1 };

export function formatNumber(value, unit = "", digits = 3) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (unit === "°C" && preference("temperature") === "F") { value = value * 9 / 5 + 32; unit = "°F"; }
  if (unit in PREFIXED && value) {
    const names = PREFIXED[unit];
    let index = OWN_PREFIX[unit] ?? 0;
    while (Math.abs(value) >= 999.5 && index + 1 < names.length) { value /= 1000; index += 1; }
    while (Math.abs(value) < 0.9995 && index > 0) { value *= 1000; index -= 1; }
    unit = names[index];
  }
  const text = digitsOf(value, digits);
  return unit && unit !== "1" ? `${text}\u00a0${unit}` : text;
}

function digitsOf(value, digits) {
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 10 ** digits) return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
  if (size < 1e-4) return value.toExponential(digits - 1);
  return value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
}

// A mark of an axis: as many digits as it needs.
export function formatTick(value, unit = "") {
  return formatNumber(value, unit).replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
}

// Figures that the server wrote and that the reader may want in another unit.
export function watchUnits() {
  const write = (root) => {
    for (const element of [root.closest?.("data[data-unit]"), ...root.querySelectorAll("data[data-unit]")]) {
      const text = element && formatNumber(Number(element.value), element.dataset.unit);
      if (element && element.textContent !== text) element.textContent = text;
    }
  };
  if (preference("temperature")) write(document);
  // A part that is morphed gets new texts in elements that stay.
  new MutationObserver((changes) => {
    if (preference("temperature")) for (const { target } of changes) write(target.parentElement ?? document);
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
  document.addEventListener("energy:preference", () => write(document));
}
