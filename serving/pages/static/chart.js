// Charts: uPlot draws them; the keyboard and screen readers read the same values, and a table has all of them.
//
// The JSON at `data-chart` (serving/pages/charts.py):
//   time: seconds since 1970, ascending
//   series: [{label, unit, values, low, high, style, band}]  low and high draw a band, whose name is `band`;
//           style: line, bars or points
//   spans: [{start, end, kind, label}]                 what lies over the chart: alerts, anomalies, maintenance
//   lines: [{value, label}]                            thresholds
//   start, end: the range that is shown
//   interval: 15m, hour, day or month, if each value is of one, with its time in the middle
//   zone: whose days or months these are
import { localTime } from "./time.js";
import { zone } from "./preferences.js";
import { connectionLost } from "./connection.js";
import { formatNumber, formatTicks, inReadersUnit, readersUnit } from "./number.js";

const ROWS_PER_PAGE = 50;
const READ_AFTER_MS = 250, TIMEOUT_MS = 20000, LONGEST_SECONDS = 3660 * 86400;
const COLOURS = 4;
const MERGE_PX = 4;
const INTERVALS = {
  "15m": [450, { dateStyle: "medium", timeStyle: "short" }], hour: [1800, { dateStyle: "medium", timeStyle: "short" }],
  day: [0, { dateStyle: "medium" }], month: [0, { month: "long", year: "numeric" }],
};
const MOMENT = [0, { dateStyle: "medium", timeStyle: "medium" }];
// A value between two gaps: it has no line, and is drawn as a dot.
const alone = (values) => values.flatMap((value, i) => (value != null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
const bandOf = (one) => (one.band ? [`${one.band} from`, `${one.band} to`] : ["lowest", "highest"]);

// The range, moved back where it would reach beyond now, or beyond `latest` if that is later; not longer than is shown.
export function bounded([from, to], latest) {
  const beyond = Math.max(0, to - Math.max(Date.now() / 1000, latest)), end = to - beyond;
  return [Math.max(from - beyond, end - LONGEST_SECONDS), end];
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plot = null;
    this.data = null;
    this.zoomed = null;
    this.at = null;
    figure.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place());
    document.addEventListener("energy:back", () => this.data || this.load());
    document.addEventListener("energy:preference", () => this.data && this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.data && this.draw());
    figure.querySelector("details")?.addEventListener("toggle", () => this.table(0));
    this.load();
  }

  place() { return this.figure.querySelector(".chart-plot"); }
  size() { return { width: Math.max(200, this.place().clientWidth), height: Number(this.figure.dataset.height) || 260 }; }
  say(text) { const state = this.figure.querySelector("[data-state]"); state.textContent = text; state.hidden = !text; }

  url() {
    const url = new URL(this.figure.dataset.chart, document.baseURI);
    if (this.zoomed) {
      url.searchParams.set("start_time", new Date(this.zoomed[0] * 1000).toISOString());
      url.searchParams.set("end_time", new Date(this.zoomed[1] * 1000).toISOString());
    }
    if ("zoom" in this.figure.dataset) url.searchParams.set("width", Math.round(this.size().width));
    return url;
  }

  async load() {
    this.loading?.abort();
    const loading = (this.loading = new AbortController());
    try {
      const signal = AbortSignal.any([loading.signal, AbortSignal.timeout(TIMEOUT_MS)]);
      const response = await fetch(this.url(), { signal, headers: { Accept: "application/json" } });
      const answer = await response.json();
      if (!response.ok) { this.clear(answer.detail); return; }
      this.data = answer;
      this.latest ??= answer.end;
      this.at = null;
      this.draw();
      this.table(0);
      this.figure.dispatchEvent(new CustomEvent("energy:chart", { bubbles: true, detail: answer }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!this.data) this.say("The chart could not be loaded.");
      connectionLost();
    }
  }

  // Nothing of an earlier range stays on the screen.
  clear(text) { this.plot?.destroy(); this.plot = null; this.place().replaceChildren(); this.say(text); }

  zone() { return this.data.zone || zone(); }

  // A time of the chart, or the interval that it stands for.
  time(seconds) {
    const [half, options] = INTERVALS[this.data.interval] ?? MOMENT;
    return localTime(new Date((seconds - half) * 1000), { ...options, timeZone: this.zone() });
  }

  columns() {
    const columns = [this.data.time];
    for (const series of this.data.series) {
      const drawn = (values) => values.map((value) => inReadersUnit(value, series.unit));
      columns.push(drawn(series.values));
      if (series.low) columns.push(drawn(series.high), drawn(series.low));
    }
    return columns;
  }

  draw() {
    this.clear("");
    if (!this.data.time.length) { this.say("There is no data in this range."); return; }
    const style = getComputedStyle(this.figure);
    const colour = (name) => style.getPropertyValue(name).trim();
    const series = [{ value: (_, t) => (t == null ? "–" : this.time(t)) }];
    const bands = [];
    this.data.series.forEach((one, i) => {
      const stroke = colour(`--chart-${(i % COLOURS) + 1}`);
      const value = (_, v) => formatNumber(v, readersUnit(one.unit));
      const bars = one.style === "bars" ? uPlot.paths.bars({ size: [0.8, 60] }) : undefined;
      const isPoints = one.style === "points";
      series.push({
        label: one.label, stroke, width: isPoints ? 0 : 1.5, value, paths: bars, fill: bars && stroke,
        points: { show: isPoints || undefined, size: 6, filter: (_, i, isShown) => (isShown || bars ? null : alone(one.values)) }, spanGaps: false,
      });
      if (one.low) {
        const edge = { stroke: "transparent", width: 0, value, points: { show: false }, spanGaps: false };
        const [low, high] = bandOf(one);
        series.push({ ...edge, label: high }, { ...edge, label: low });
        bands.push({ series: [series.length - 2, series.length - 1], fill: `${stroke}33` });
      }
    });
    const line = colour("--line"), text = colour("--muted");
    const own = this.data.series[0]?.unit, unit = readersUnit(own);
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const limits = (this.data.lines ?? []).map((line) => ({ ...line, value: inReadersUnit(line.value, own) }));
    this.plot = new uPlot({
      ...this.size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), this.zone()),
      scales: { x: { range: () => [this.data.start, this.data.end] }, y: { range: (_, low, high) => this.range(low, high, limits) } },
      axes: [
        { ...axis, values: (_, marks, _axis, _space, step) => marks.map((mark, i) => timeTick(mark, step, i === 0, this.zone())) },
        { ...axis, size: 72, values: (_, marks) => formatTicks(marks, unit) },
      ],
      series, bands,
      cursor: { drag: { x: "zoom" in this.figure.dataset, y: false, setScale: false } },
      hooks: {
        drawClear: [(plot) => this.spans(plot, colour)],
        draw: [(plot) => this.limits(plot, limits, colour)],
        setSelect: [(plot) => this.select(plot)],
      },
    }, this.columns(), this.place());
  }

  range(low, high, limits) {
    if (low == null) return [0, 1];
    const values = [low, high, ...limits.map((limit) => limit.value)];
    if (this.data.series.some((one) => one.style === "bars")) values.push(0);
    const from = Math.min(...values), to = Math.max(...values), margin = (to - from || Math.abs(to) || 1) * 0.06;
    // What is never below zero has no axis below it.
    return [from >= 0 ? Math.max(0, from - margin) : from - margin, to <= 0 ? Math.min(0, to + margin) : to + margin];
  }

  spans(plot, colour) {
    const { ctx, bbox } = plot;
    const colours = { alert: "--bad", anomaly: "--chart-2", maintenance: "--maintenance" };
    const mark = 2 * devicePixelRatio, right = bbox.left + bbox.width, drawn = [];
    for (const span of [...(this.data.spans ?? [])].sort((a, b) => a.start - b.start)) {
      const from = Math.max(bbox.left, plot.valToPos(span.start, "x", true));
      const to = Math.max(from + mark, Math.min(right, plot.valToPos(span.end, "x", true)));
      if (from > right || plot.valToPos(span.end, "x", true) < bbox.left) continue;
      // Marks that nearly touch are one, so that many do not cover the values.
      const before = drawn.findLast((one) => one.kind === span.kind);
      if (before && from - before.to < MERGE_PX * devicePixelRatio) before.to = Math.max(before.to, to);
      else drawn.push({ kind: span.kind, from, to });
    }
    ctx.save();
    for (const { kind, from, to } of drawn) {
      ctx.globalAlpha = to - from <= mark && kind === "alert" ? 0.7 : kind === "alert" ? 0.15 : 0.25;
      ctx.fillStyle = colour(colours[kind] ?? "--off");
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
    }
    ctx.restore();
  }

  limits(plot, limits, colour) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--bad");
    ctx.font = `${12 * devicePixelRatio}px sans-serif`;
    ctx.textAlign = "left";
    ctx.setLineDash([6, 4]);
    for (const limit of limits) {
      const y = plot.valToPos(limit.value, "y", true);
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
      ctx.fillText(limit.label, bbox.left + 6, y - 5 * devicePixelRatio);
    }
    ctx.restore();
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const range = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.zoom(range);
  }

  zoom(range) {
    this.zoomed = range;
    this.figure.dispatchEvent(new CustomEvent("energy:zoom", { bubbles: true, detail: range }));
    this.load();
  }

  onKey(event) {
    if (event.target !== this.figure || !this.data?.time.length) return;
    const last = this.data.time.length - 1, at = this.at ?? last;
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 10, PageDown: at + 10, Home: 0, End: last };
    if (event.key in moves) this.read(Math.min(last, Math.max(0, moves[event.key])));
    else if ("zoom" in this.figure.dataset && "+-0".includes(event.key)) this.zoomByKey(event.key, at);
    else return;
    event.preventDefault();
  }

  zoomByKey(key, at) {
    if (key === "0") { this.zoom(null); return; }
    const middle = this.data.time[at], half = ((this.data.end - this.data.start) / 2) * (key === "+" ? 0.5 : 2);
    this.zoom(bounded([middle - half, middle + half], this.latest));
  }

  read(at) {
    this.at = at;
    this.plot.setCursor({ left: this.plot.valToPos(this.data.time[at], "x"), top: 10 });
    clearTimeout(this.reading);
    this.reading = setTimeout(() => {
      const values = this.data.series.map((one) => `${one.label} ${formatNumber(one.values[at], one.unit)}`);
      this.figure.querySelector("[data-reading]").textContent = `${this.time(this.data.time[at])}: ${values.join(", ")}`;
    }, READ_AFTER_MS);
  }

  // The values, a page at a time, built when the disclosure is open.
  table(page) {
    const details = this.figure.querySelector("details");
    if (!details?.open || !this.data) return;
    const { time, series } = this.data, from = page * ROWS_PER_PAGE;
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of ["Time", ...series.flatMap((one) => (one.low ? [one.label, ...bandOf(one)] : [one.label]))]) {
      const cell = document.createElement("th"); cell.scope = "col"; cell.textContent = text; head.append(cell);
    }
    const body = table.createTBody();
    for (let i = from; i < Math.min(from + ROWS_PER_PAGE, time.length); i++) {
      const row = body.insertRow();
      row.insertCell().textContent = this.time(time[i]);
      for (const one of series) for (const column of one.low ? [one.values, one.low, one.high] : [one.values]) {
        row.insertCell().textContent = formatNumber(column[i], one.unit);
      }
    }
    const pages = Math.ceil(time.length / ROWS_PER_PAGE), pager = document.createElement("p");
    pager.className = "row";
    const button = (text, to) => {
      const element = document.createElement("button");
      element.type = "button"; element.className = "quiet"; element.textContent = text; element.disabled = to < 0 || to >= pages;
      element.addEventListener("click", () => this.table(to));
      return element;
    };
    pager.append(button("Earlier", page - 1), `page ${page + 1} of ${pages || 1}`, button("Later", page + 1));
    this.figure.querySelector("[data-values]").replaceChildren(table, pager);
  }
}

// The time of a mark on the axis; the day is added to the first mark and at midnight.
function timeTick(seconds, step, isFirst, timeZone) {
  const date = new Date(seconds * 1000);
  const day = localTime(date, { timeZone, ...(step >= 28 * 86400 ? { month: "short", year: "numeric" } : { day: "numeric", month: "short" }) });
  if (step >= 86400) return day;
  const time = localTime(date, { timeZone, hour: "2-digit", minute: "2-digit", second: step < 60 ? "2-digit" : undefined });
  return isFirst || /^00:00(:00)?$/.test(time) ? `${time}\n${day}` : time;
}

const charts = new WeakMap();
export function chartOf(figure) { return charts.get(figure); }

function start(root) {
  for (const figure of [...(root.matches?.("figure[data-chart]") ? [root] : []), ...(root.querySelectorAll?.("figure[data-chart]") ?? [])]) {
    if (!charts.has(figure)) charts.set(figure, new Chart(figure));
  }
}

start(document);
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) start(node);
}).observe(document.body, { childList: true, subtree: true });
