// Figures as `serving/pages/display.py` writes them: three digits that matter, a prefix that fits.
import { preference } from "./preferences.js";

const PREFIXED = { W: ["W", "kW", "MW", "GW"], kWh: ["Wh", "kWh", "MWh", "GWh"], B: ["B", "kB", "MB", "GB"], s: ["ms", "s"] };
const OWN_PREFIX = { kWh: 1, s: 1 };

const isInFahrenheit = (unit) => unit === "°C" && preference("temperature") === "F";
// The unit that the reader wants, and a value in it.
export const readersUnit = (unit) => (isInFahrenheit(unit) ? "°F" : unit);
export const inReadersUnit = (value, unit) => (value != null && isInFahrenheit(unit) ? value * 9 / 5 + 32 : value);

export function formatNumber(value, unit = "", digits = 3) {
  if (value == null || !Number.isFinite(value)) return "–";
  value = inReadersUnit(value, unit); unit = readersUnit(unit);
  const [factor, name] = prefixed(value, unit), text = digitsOf(value * factor, digits);
  return withUnit(text, name);
}

const withUnit = (text, unit) => (unit && unit !== "1" ? `${text}\u00a0${unit}` : text);
const grouped = (value) => value.toLocaleString("en", { maximumFractionDigits: 20 }).replaceAll(",", "\u202f");

// What a value is multiplied by to stand with the prefix that fits, and the unit with this prefix.
function prefixed(value, unit) {
  if (!(unit in PREFIXED) || !value) return [1, unit];
  const names = PREFIXED[unit];
  let index = OWN_PREFIX[unit] ?? 0, factor = 1;
  while (Math.abs(value * factor) >= 999.5 && index + 1 < names.length) { factor /= 1000; index += 1; }
  while (Math.abs(value * factor) < 0.9995 && index > 0) { factor *= 1000; index -= 1; }
  return [factor, names[index]];
}

function digitsOf(value, digits) {
  const size = Math.abs(value);
  if (size >= 1e12) return value.toExponential(digits - 1);
  if (Number.isInteger(value) || size >= 10 ** digits) return grouped(Math.round(value));
  if (size < 1e-4) return value.toExponential(digits - 1);
  return value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
}

// The marks of an axis: all with the same prefix, each with as many digits as it needs.
export function formatTicks(values, unit = "") {
  const [factor, name] = prefixed(Math.max(...values.map(Math.abs)), unit);
  return values.map((value) => withUnit(grouped(Number((value * factor).toPrecision(9))), name));
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
