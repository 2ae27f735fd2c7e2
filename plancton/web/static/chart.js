// Charts, drawn by uPlot.

import { DAY, clock, day, element, month } from "./format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const family = () => getComputedStyle(document.body).fontFamily;
const fontSize = () => parseFloat(getComputedStyle(document.documentElement).fontSize);
const BARS = 80; // of jobs, at most
const sync = uPlot.sync("past");

function labels(_, splits, __, ___, step) {
  return splits.map((time) => {
    if (step >= 25 * DAY) return month(time);
    const at = clock(time);
    if (step >= DAY || at === "00:00") return day(time).slice(4);
    return at;
  });
}

function axes(unit) {
  const line = { stroke: () => colour("line"), width: 1 };
  const shared = { stroke: () => colour("quiet"), font: `${Math.round(0.75 * fontSize())}px ${family()}`, ticks: { show: false } };
  return [
    { ...shared, grid: { show: false }, values: labels, space: 5 * fontSize(), size: 2 * fontSize() },
    { ...shared, grid: line, size: 2.6 * fontSize(), space: 1.5 * fontSize(), incrs: unit },
  ];
}

const sizeOf = (place) => ({ width: Math.max(place.clientWidth, 100), height: Math.max(place.clientHeight, 30) });

// As large as its place, and in the colours of the day or of the night.
function keepUp(plot, place) {
  new ResizeObserver(() => plot.setSize(sizeOf(place))).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw(false, true));
}

// A chart in `place`; `series` are painted one over the other, the first one at the back.
class Chart {
  constructor(place, series, onZoom, onCursor, incrs, top) {
    const zoomed = (plot) => {
      const { left, width } = plot.select;
      plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      if (width > 4) onZoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
    };
    this.plot = new uPlot({
      ...sizeOf(place),
      padding: [fontSize() / 2, fontSize() / 2, 0, 0],
      legend: { show: false },
      scales: { y: { range: (_, __, most) => [0, Math.max(top ? top() : 0, most || 0) || 1] } },
      axes: axes(incrs),
      series: [{}, ...series],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        sync: { key: sync.key, setSeries: false },
        bind: { dblclick: () => () => onZoom() },
      },
      hooks: { setSelect: [zoomed], setCursor: [(plot) => onCursor(plot.cursor.idx)] },
    }, null, place);
    keepUp(this.plot, place);
  }

  draw(data, since, until) {
    this.plot.batch(() => {
      this.plot.setData(data, false);
      this.plot.setScale("x", { min: since, max: until });
    });
  }
}

const area = (name) => ({ fill: () => colour(name), stroke: () => colour(name), width: 0, points: { show: false } });
const at = (chart) => chart.lines.owner.map((_, n) => chart.begin + n * chart.step);
const sum = (chart, ...names) => chart.lines.owner.map((known, n) => (
  known === null ? null : names.reduce((total, name) => total + chart.lines[name][n], 0)));

// Owner below, then Docker and the hypervisor, then what was donated; the line is all there is.
export class Usage {
  constructor(place, onZoom, onCursor) {
    const all = { stroke: () => colour("quiet"), width: 1, dash: [4, 4], points: { show: false } };
    this.capacity = 1;
    this.chart = new Chart(place, [area("donated"), area("engine"), area("owner"), all], onZoom, onCursor,
      [0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], () => 1.05 * this.capacity);
  }

  draw(chart, since, until) {
    this.capacity = Math.max(0, ...chart.lines.capacity);
    const others = ["owner", "engine", "stolen"];
    this.chart.draw([at(chart), sum(chart, ...others, "donated"), sum(chart, ...others), sum(chart, "owner"),
      sum(chart, "capacity")], since, until);
  }
}

export class Jobs {
  constructor(place, onZoom, onCursor) {
    const bars = (name) => ({ ...area(name), paths: uPlot.paths.bars({ size: [0.8, 24], align: 1 }) });
    this.chart = new Chart(place, [bars("lost"), bars("donated")], onZoom, onCursor,
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000], () => 1);
  }

  // Returns what is drawn.
  draw(chart, since, until) {
    const drawn = coarser(chart, Math.ceil(chart.lines.owner.length / BARS));
    this.chart.draw([at(drawn), sum(drawn, "jobs_done", "jobs_evicted"), sum(drawn, "jobs_done")], since, until);
    return drawn;
  }
}

function coarser(chart, times) {
  const lines = {};
  const starts = chart.lines.owner.map((_, n) => n).filter((n) => n % times === 0);
  for (const name of ["owner", "jobs_done", "jobs_evicted"]) {
    const parts = starts.map((n) => chart.lines[name].slice(n, n + times).filter((value) => value !== null));
    lines[name] = parts.map((part) => (part.length ? part.reduce((total, value) => total + value) : null));
  }
  return { begin: chart.begin, step: chart.step * times, lines };
}

// The last two minutes, without axes; `figures` are pairs of owner and donated.
export class Live {
  constructor(place) {
    this.cpus = 1;
    this.plot = new uPlot({
      ...sizeOf(place),
      padding: [0, 0, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: { x: { time: false, range: [-120, 0] }, y: { range: () => [0, this.cpus] } },
      series: [{}, area("donated"), area("owner")],
    }, null, place);
    keepUp(this.plot, place);
  }

  draw(figures, cpus, now) {
    this.cpus = cpus || 1;
    const top = figures.map((each) => (each.owner == null ? null : each.owner + (each.donated || 0)));
    this.plot.setData([figures.map((each) => each.time - now), top, figures.map((each) => each.owner)]);
  }
}

// What a chart says at one place, or (`when`) on the whole: `rows` are names of colours, words and values.
export function legend(place, when, rows) {
  const made = rows.map(([name, word, value]) => {
    const group = element("div");
    const term = element("dt", word);
    term.prepend(element("i", undefined, `dot ${name}`));
    group.append(term, element("dd", value));
    return group;
  });
  const group = element("div", undefined, "when");
  group.append(element("dt", "", "unseen"), element("dd", when));
  place.replaceChildren(...made, group);
}
