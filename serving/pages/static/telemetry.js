// The charts of a machine move together, and the address and the links to CSV follow, so that they can be shared.
import { bounded, chartOf } from "./chart.js";

const place = document.getElementById("charts");
const figures = () => [...place.querySelectorAll("figure[data-chart]")];
let range = [place.dataset.start, place.dataset.end].map((text) => Date.parse(text) / 1000);
const first = range;

function show(next, source) {
  range = bounded(next ?? first, first[1]);
  const times = range.map((seconds) => new Date(seconds * 1000).toISOString());
  for (const figure of figures()) {
    const chart = chartOf(figure);
    if (figure !== source) { chart.zoomed = range; chart.load(); }
    const link = figure.closest("section").querySelector("[data-csv]"), url = new URL(link.href);
    url.searchParams.set("start_time", times[0]);
    url.searchParams.set("end_time", times[1]);
    url.searchParams.set("width", Math.round(figure.clientWidth));
    link.href = url;
  }
  const here = new URL(location.href);
  here.searchParams.set("start_time", times[0]);
  here.searchParams.set("end_time", times[1]);
  history.replaceState(null, "", here);
}

for (const figure of figures()) {
  const link = figure.closest("section").querySelector("[data-csv]"), url = new URL(link.href);
  url.searchParams.set("width", Math.round(figure.clientWidth));
  link.href = url;
}
place.addEventListener("energy:zoom", (event) => show(event.detail, event.target));
for (const button of document.querySelectorAll("[data-move]")) {
  button.addEventListener("click", () => { const by = ((range[1] - range[0]) / 2) * Number(button.dataset.move); show([range[0] + by, range[1] + by]); });
}
for (const button of document.querySelectorAll("[data-zoom-by]")) {
  button.addEventListener("click", () => {
    const middle = (range[0] + range[1]) / 2, half = ((range[1] - range[0]) / 2) * Number(button.dataset.zoomBy);
    show([middle - half, middle + half]);
  });
}
