// Times in the reader's zone and in 24 hours, with UTC on hover; ages that grow while one looks.
import { zone } from "./preferences.js";

const AGE_SECONDS = 10;
const UNITS = [[172800, 86400, "d"], [7200, 3600, "h"], [120, 60, "min"], [0, 1, "s"]];
const formats = new Map();
// A `date` is a day of UTC, whatever the reader's zone is.
const MOMENT = { dateStyle: "medium", timeStyle: "short" };
const FORMATS = { day: { dateStyle: "medium" }, date: { dateStyle: "medium", timeZone: "UTC" } };

export function localTime(date, options = MOMENT) {
  const key = JSON.stringify([zone(), options]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, { hourCycle: "h23", timeZone: zone(), ...options }));
  return formats.get(key).format(date);
}

export function duration(seconds) {
  const [, size, name] = UNITS.find(([least]) => seconds >= least);
  return `${Math.round(seconds / size)}\u00a0${name}`;
}

const AGES = { age: "ago", since: "so far" };
const ageOf = (date, kind) => `${duration(Math.max(0, (Date.now() - date) / 1000))} ${AGES[kind]}`;

function write(element) {
  const date = new Date(element.dateTime);
  const { time: kind, zone: timeZone } = element.dataset;
  const text = kind in AGES ? ageOf(date, kind) : localTime(date, timeZone ? { ...MOMENT, timeZone } : FORMATS[kind]);
  if (element.textContent !== text) element.textContent = text;
  if (kind in AGES) element.title = `${localTime(date)} · ${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

// The element tells the age of another time from now on.
export function setAge(element, date) {
  element.dateTime = date.toISOString();
  element.dataset.time = "age";
  write(element);
}

export function writeTimes(root = document) {
  if (root.matches?.("time[data-time]")) write(root);
  root.querySelectorAll?.("time[data-time]").forEach(write);
  for (const place of root.querySelectorAll?.("[data-readers-zone]") ?? []) { if (place.textContent !== zone()) place.textContent = zone(); }
}

export function watchTimes() {
  writeTimes();
  new MutationObserver((changes) => {
    // A part that is morphed gets the server's texts in elements that stay.
    for (const target of new Set(changes.map((change) => change.target))) writeTimes(target.parentElement && target.nodeType === Node.TEXT_NODE ? target.parentElement : target);
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
  setInterval(() => document.querySelectorAll('time[data-time="age"], time[data-time="since"]').forEach(write), AGE_SECONDS * 1000);
  document.addEventListener("energy:preference", () => writeTimes());
}
