/**
 * Charts of the monitor: a canvas of uPlot, a legend with the values at the pointer, and the same values as a table.
 */
import { element, setText } from "./elements.js";
import { formatDay, formatHour, formatMoment, formatQuantity } from "./monitor-format.js";
import { timeZone } from "./page-text.js";

const HEIGHT_PX = 168;
const [AXIS_WIDTH_PX, AXIS_HEIGHT_PX, AXIS_GAP_PX] = [70, 30, 8];
/** Distances between the lines of a chart; those of other units are powers of ten, doubled and halved. */
const STEPS = {
  bytes: Array.from({ length: 50 }, (_, power) => 2 ** power),
  seconds: [
    ...[0.001, 0.01, 0.1, 1].flatMap((size) => [size, 2 * size, 5 * size]),
    ...[10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18_000, 36_000, 86_400, 172_800, 432_000, 864_000],
  ],
};
const DASH = [5, 4];
/** In a longer range, times are dates. */
const DAY_SECONDS = 86_400;

const percentiles = (name) => [
  { key: `${name}.p50`, label: "p50", colour: "--accent" },
  { key: `${name}.p95`, label: "p95", colour: "--running", dash: DASH },
];
/** The charts by name. An optional chart is hidden unless one of its values is above 0. */
const CHARTS = [
  {
    name: "ended", unit: "count", stacked: true,
    series: ["completed", "failed", "cancelled"].map((label) => ({
      key: `attempts_ended.${label}`, label, colour: `--${label}`,
    })),
  },
  {
    name: "failure_rate", unit: "share",
    series: [
      { key: "failure_rate", label: "rate", colour: "--failed" },
      { key: "failure_rate_before", label: "previous", colour: "--edge", dash: DASH },
    ],
  },
  { name: "queue_wait", unit: "seconds", series: percentiles("queue_wait") },
  { name: "duration", unit: "seconds", series: percentiles("duration") },
  { name: "first_event", unit: "seconds", series: percentiles("first_event") },
  {
    name: "events", unit: "rate",
    series: [
      { key: "events_appended", label: "appended", colour: "--accent" },
      { key: "events_archived", label: "archived", colour: "--running", dash: DASH },
    ],
  },
  {
    name: "jobs", unit: "count",
    series: [
      { key: "jobs_pending", label: "pending", colour: "--pending" },
      { key: "jobs_running", label: "running", colour: "--running" },
      { key: "inputs_pending", label: "inputs", colour: "--cancelled", dash: DASH },
    ],
  },
  {
    name: "lag", unit: "seconds",
    series: [
      { key: "outbox_age", label: "outbox", colour: "--accent" },
      { key: "archive_age", label: "archive", colour: "--running", dash: DASH },
    ],
  },
  {
    name: "memory", unit: "bytes",
    series: [
      { key: "redis_used", label: "used", colour: "--accent" },
      { key: "redis_limit", label: "limit", colour: "--failed", dash: DASH, noZero: true },
    ],
  },
  { name: "streams", unit: "count", series: [{ key: "streams", label: "streams", colour: "--accent" }] },
  {
    name: "tokens", unit: "count", optional: true,
    series: [
      { key: "tokens.input", label: "input", colour: "--accent" },
      { key: "tokens.output", label: "output", colour: "--running", dash: DASH },
    ],
  },
  { name: "cost", unit: "money", optional: true, series: [{ key: "cost", label: "cost", colour: "--accent" }] },
];

/** The colours of the tokens in the present theme. */
const colours = new Map();
const probe = element("span", { hidden: "" });

/** @param {string} name A token, whose own value has the colours of both themes. */
function colourOf(name) {
  if (!colours.has(name)) {
    probe.style.setProperty("color", `var(${name})`);
    colours.set(name, getComputedStyle(probe).color);
  }
  return colours.get(name);
}
/** @returns {(number|null)[]} The series of a key, or of a label of it. */
const seriesOf = (series, key) => key.split(".").reduce((found, name) => found?.[name], series) ?? [];
const isKnown = (value) => value !== null && value !== undefined;

/**
 * @param {HTMLElement} parent
 * @param {(name: string, values?: Record<string, any>) => string} translate
 * @returns {(figures: Record<string, any>) => number|null} Draws; returns the start of the latest period with figures, in seconds.
 */
export function createCharts(parent, translate) {
  const charts = CHARTS.map((definition) => new Chart(definition, translate));
  parent.append(probe, ...charts.map((chart) => chart.node));
  const repaint = () => {
    colours.clear();
    charts.forEach((chart) => chart.repaint());
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  document.addEventListener("job-events-theme", repaint);
  return (figures) => charts.map((chart) => chart.draw(figures)).reduce((latest, time) => Math.max(latest, time ?? 0), 0) || null;
}

class Chart {
  constructor(definition, translate) {
    this.definition = definition;
    this.translate = translate;
    this.title = translate(`chart.${definition.name}`);
    this.times = [];
    this.plot = null;
    const id = `chart-${definition.name}`;
    this.legend = definition.series.map((each) => this.legendItem(each));
    this.time = element("span", { class: "soft", "aria-hidden": "true" });
    this.canvas = element("div", { class: "plot", role: "img" });
    this.empty = element("p", { class: "plot-empty" }, translate("chart.empty"));
    // Scrolls, so that it needs the focus.
    this.table = element("div", { class: "table-scroll", role: "group", tabindex: "0", "aria-labelledby": id });
    this.details = element("details", {}, element("summary", {}, translate("chart.table")), this.table);
    this.details.addEventListener("toggle", () => this.drawTable());
    this.node = element(
      "section",
      { class: "card chart", "aria-labelledby": id },
      element("div", { class: "chart-head" }, element("h2", { id }, this.title), this.time),
      element("ul", { class: "legend", "aria-hidden": "true" }, ...this.legend.map(({ item }) => item)),
      element("div", { class: "plot-frame" }, this.canvas, this.empty),
      this.details,
    );
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  legendItem({ label, colour, dash }) {
    const value = element("span", { class: "legend-value" });
    const line = element("span", { class: dash ? "legend-line legend-dash" : "legend-line" });
    line.style.setProperty("--tone", `var(${colour})`);
    const item = element("li", {}, line, `${this.translate(`series.${label}`)} `, value);
    return { item, value };
  }

  /** @returns {number|undefined} The start of the latest period with a figure, in seconds. */
  draw({ from, step, series }) {
    const { definition } = this;
    const perSecond = definition.unit === "rate" ? step : 1;
    // A limit of 0 is none.
    const rows = definition.series.map(({ key, noZero }) =>
      seriesOf(series, key).map((value) => (isKnown(value) && !(noZero && value === 0) ? value / perSecond : null)),
    );
    const start = Date.parse(from) / 1000;
    const length = Math.max(0, ...rows.map((row) => row.length));
    this.times = Array.from({ length }, (_, index) => start + index * step);
    this.step = step;
    this.rows = rows;
    this.node.hidden = Boolean(definition.optional) && !rows.some((row) => row.some((value) => value > 0));
    this.empty.hidden = rows.some((row) => row.some(isKnown));
    this.canvas.setAttribute("aria-label", this.summary());
    if (!this.node.hidden) this.paint();
    this.drawLegend(this.plot?.cursor.idx);
    this.drawTable();
    return this.times[rows[0].findLastIndex(isKnown)];
  }

  paint() {
    const data = [this.times, ...this.stacked()];
    if (this.plot) this.plot.setData(data);
    else if (this.canvas.clientWidth) this.plot = new globalThis.uPlot(this.options(), data, this.canvas);
  }

  /** Bars are drawn over each other, the highest first: the sum of all series, then of fewer. */
  stacked() {
    if (!this.definition.stacked) return this.rows;
    return this.rows.map((_, first) =>
      this.times.map((_time, index) => {
        const parts = this.rows.slice(0, this.rows.length - first).map((row) => row[index]);
        return parts.some(isKnown) ? parts.reduce((sum, part) => sum + (part ?? 0), 0) : null;
      }),
    );
  }

  options() {
    const { definition } = this;
    const axis = {
      stroke: () => colourOf("--soft"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: () => colourOf("--line"), width: 1 },
      ticks: { show: false },
    };
    const steps = STEPS[definition.unit] ? { incrs: STEPS[definition.unit] } : {};
    return {
      width: this.canvas.clientWidth,
      height: HEIGHT_PX,
      tzDate: (seconds) => globalThis.uPlot.tzDate(new Date(seconds * 1000), timeZone ?? "UTC"),
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "monitor" } },
      scales: {
        x: { time: true, range: () => this.timeRange() },
        y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
      },
      axes: [
        { ...axis, size: AXIS_HEIGHT_PX, gap: AXIS_GAP_PX, space: 70, values: (_plot, splits) => splits.map((time) => this.timeText(time)) },
        { ...axis, ...steps, size: AXIS_WIDTH_PX, values: (_plot, splits) => splits.map((value) => formatQuantity(value, definition.unit)) },
      ],
      series: [{}, ...this.lines()],
      hooks: { setCursor: [(plot) => this.drawLegend(plot.cursor.idx)] },
    };
  }

  lines() {
    const { series, stacked } = this.definition;
    if (!stacked) {
      return series.map(({ colour, dash }) => ({ stroke: () => colourOf(colour), width: 2, dash, points: { size: 5 } }));
    }
    const paths = globalThis.uPlot.paths.bars({ size: [0.8, 24], align: 1 });
    return [...series].reverse().map(({ colour }) => ({
      fill: () => colourOf(colour),
      stroke: () => colourOf(colour),
      width: 0,
      paths,
      points: { show: false },
    }));
  }

  timeRange() {
    const [first, last] = [this.times[0] ?? 0, this.times.at(-1) ?? 1];
    return [first, last + this.step];
  }

  timeText(time) {
    const range = this.step * this.times.length;
    return range > DAY_SECONDS ? formatDay(time) : formatHour(time);
  }

  /** Shows the values at an index, or the latest ones; not old values, if the samples have stopped. */
  drawLegend(index) {
    const at = index ?? this.latest();
    setText(this.time, isKnown(this.times[at]) ? formatMoment(this.times[at]) : "");
    this.legend.forEach(({ value }, line) => setText(value, this.text(this.rows?.[line]?.[at])));
  }

  /** The last period, or the one before while the last has no values yet. */
  latest() {
    const last = this.times.length - 1;
    return this.rows.some((row) => isKnown(row[last])) ? last : last - 1;
  }

  text(value) {
    return formatQuantity(value, this.definition.unit);
  }

  /** The title and the latest and highest value of each series, for screen readers. */
  summary() {
    const at = this.latest();
    if (!this.rows.some((row) => row.some(isKnown))) return `${this.title}: ${this.translate("chart.empty")}`;
    const parts = this.definition.series.map(({ label }, line) =>
      this.translate("chart.summary", {
        series: this.translate(`series.${label}`),
        latest: this.text(this.rows[line][at]),
        highest: this.text(this.rows[line].filter(isKnown).reduce((most, value) => Math.max(most, value), 0)),
      }),
    );
    return `${this.title}. ${parts.join(". ")}`;
  }

  /** The table exists while it is open; the newest period is first. */
  drawTable() {
    if (!this.details.open) return this.table.replaceChildren();
    const heads = this.definition.series.map(({ label }) => this.translate(`series.${label}`));
    const head = element("tr", {}, ...[this.translate("chart.time"), ...heads].map((text) => element("th", { scope: "col" }, text)));
    const body = this.times.map((time, index) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, formatMoment(time)),
        ...this.rows.map((row) => element("td", { class: "num" }, this.text(row[index]))),
      ),
    );
    const caption = element("caption", { class: "visually-hidden" }, this.title);
    const table = element("table", { class: "figures" }, caption, element("thead", {}, head), element("tbody", {}, ...body.reverse()));
    if (!this.table.firstChild?.isEqualNode(table)) this.table.replaceChildren(table);
  }

  resize() {
    if (!this.plot && this.rows && !this.node.hidden) this.paint();
    else if (this.canvas.clientWidth) this.plot?.setSize({ width: this.canvas.clientWidth, height: HEIGHT_PX });
  }

  repaint() {
    this.plot?.redraw(true, true);
  }
}
