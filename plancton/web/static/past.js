// What it did in the time that is shown: charts, sums, the week, pauses and events.

import { byId, cpus, duration, element, moment, percent, setText, show } from "./format.js";
import { Jobs, Usage, legend } from "./chart.js";

const DAY_NAMES = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const SPANS = { Day: 86400, Week: 604800, Month: 2592000, Year: 31536000 };
const SHORTEST = 600, LONGEST = 94608000;

export class PastView {
  constructor(source, first) {
    this.source = source;
    this.first = first || { span: SPANS.Day };
    this.period = this.first;
    this.asked = 0;
    const zoom = (since, until) => this.go(since ? { since, until } : this.first);
    this.usage = new Usage(byId("usage"), zoom, (index) => this.showUsage(index));
    this.jobs = new Jobs(byId("jobs"), zoom, (index) => this.showJobs(index));
    for (const [word, span] of Object.entries(SPANS)) this.addSpan(word, span);
    if (first && !Object.values(SPANS).includes(first.span)) this.addSpan("All", first.span);
    byId("earlier").addEventListener("click", () => this.move(-0.5, 1));
    byId("later").addEventListener("click", () => this.move(0.5, 1));
    byId("closer").addEventListener("click", () => this.move(0, 0.5));
    byId("wider").addEventListener("click", () => this.move(0, 2));
  }

  addSpan(word, span) {
    const button = element("button", word);
    button.type = "button";
    button.dataset.span = span;
    button.addEventListener("click", () => {
      this.first = { span };
      this.go(this.first);
    });
    byId("spans").append(button);
  }

  // By a part of what is shown, then to so many times as much.
  move(part, times) {
    if (!this.shown) return;
    const { since, until } = this.shown;
    const span = Math.min(Math.max((until - since) * times, SHORTEST), LONGEST);
    const middle = (since + until) / 2 + part * (until - since);
    const end = middle + span / 2;
    this.go(end >= this.now() ? { span } : { since: end - span, until: end });
  }

  now() {
    return this.source.live ? Date.now() / 1000 + this.ahead : this.source.data.now.time;
  }

  ahead = 0; // of the server's clock

  go(period) {
    this.period = period;
    return this.load();
  }

  async load() {
    const asked = ++this.asked;
    const past = await this.source.past(this.period);
    if (asked === this.asked) this.show(past); // else something else was asked for meanwhile
  }

  show(past) {
    this.shown = past;
    for (const button of byId("spans").children) {
      const pressed = !this.period.until && Number(button.dataset.span) === this.period.span;
      button.setAttribute("aria-pressed", pressed);
    }
    setText("period", `${moment(past.since)} to ${this.period.until || !this.source.live ? moment(past.until) : "now"}`);
    show("past-problem", past.problem);
    show("known", !past.problem);
    setText("past-problem", past.problem || "");
    showWeek(past.week);
    showPauses(past.pauses);
    showEvents(past.events);
    if (past.problem) return;
    this.sums = sumUp(past.chart);
    showSums(this.sums);
    this.usage.draw(past.chart, past.since, past.until);
    this.bars = this.jobs.draw(past.chart, past.since, past.until);
    this.showUsage(null);
    this.showJobs(null);
    this.describe();
  }

  // In words, for those who don't see the charts.
  describe() {
    const { sums } = this;
    byId("usage").ariaLabel = `Chart of CPUs in use over time. On average the owner used ${cpus(sums.owner)},`
      + ` ${cpus(sums.donated)} were donated, and ${cpus(sums.idle)} were idle, of ${cpus(sums.capacity)}.`;
    byId("jobs").ariaLabel = `Chart of jobs over time: ${sums.jobs_done} done, ${sums.jobs_evicted} evicted.`;
  }

  showUsage(index) {
    if (!this.shown?.chart) return;
    const { at, when } = this.at(this.shown.chart, index, "on average");
    const others = (at("engine") ?? 0) + (at("stolen") ?? 0);
    legend(byId("usage-legend"), when, [
      ["owner", "owner", cpus(at("owner"))],
      ["engine", "Docker and others", cpus(others)],
      ["donated", "donated", cpus(at("donated"))],
      ["idle", "idle", cpus(at("idle"))],
    ]);
  }

  showJobs(index) {
    if (!this.shown?.chart) return;
    const { at, when } = this.at(this.bars, index, "in all");
    legend(byId("jobs-legend"), when, [
      ["donated", "done", String(at("jobs_done") ?? "–")],
      ["lost", "evicted", String(at("jobs_evicted") ?? "–")],
    ]);
  }

  at(chart, index, whole) {
    if (index == null) return { when: whole, at: (name) => this.sums[name] };
    return { when: moment(chart.begin + index * chart.step), at: (name) => chart.lines[name][index] };
  }
}

// Averages of CPUs, and sums of the rest.
function sumUp(chart) {
  const sums = {};
  const { seconds } = chart.lines;
  const known = seconds.reduce((total, each) => total + (each || 0), 0);
  for (const [name, values] of Object.entries(chart.lines)) {
    const adds = name === "seconds" || /^(jobs|cpu)_/.test(name);
    const total = values.reduce((all, value, n) => all + (value || 0) * (adds ? 1 : seconds[n] || 0), 0);
    sums[name] = adds ? total : known ? total / known : null;
  }
  return sums;
}

function showSums(sums) {
  const idle = sums.donated + sums.idle;
  const rows = [
    ["CPU time donated", duration(sums.donated * sums.seconds)],
    ["of what was idle", idle ? percent(sums.donated / idle) : "–"],
    ["jobs done", String(sums.jobs_done)],
    ["jobs evicted", String(sums.jobs_evicted)],
    ["CPU time lost with them", duration(sums.cpu_lost)],
  ];
  byId("sums").replaceChildren(...rows.map(([word, value]) => {
    const group = element("div");
    group.append(element("dt", word), element("dd", value));
    return group;
  }));
}

function showWeek(week) {
  const head = element("tr");
  head.append(element("td"));
  for (let hour = 0; hour < 24; hour += 1) {
    const cell = element("th");
    cell.scope = "col";
    cell.append(element("span", String(hour), hour % 6 ? "unseen" : ""));
    head.append(cell);
  }
  const rows = week.map((parts, n) => {
    const row = element("tr");
    const name = element("th", DAY_NAMES[n]);
    name.scope = "row";
    row.append(name, ...parts.map((part, hour) => weekCell(part, `${DAY_NAMES[n]} ${hour}:00`)));
    return row;
  });
  byId("week").replaceChildren(...(week.length ? [head, ...rows] : []));
}

function weekCell(part, when) {
  const cell = element("td");
  const said = part === null ? "unknown" : percent(part);
  cell.append(element("span", said, "unseen"));
  cell.title = `${when}: ${said}`;
  if (part === null) cell.className = "unknown";
  else cell.style.setProperty("--part", `${Math.round(100 * Math.min(1, part))}%`);
  return cell;
}

function showPauses(pauses) {
  show("no-pauses", pauses.length === 0);
  byId("pauses").replaceChildren(...pauses.map((pause) => line(pause.begin,
    pause.why || "there had not been room for long enough", duration(pause.seconds))));
}

function showEvents(events) {
  show("no-events", events.length === 0);
  byId("events").replaceChildren(...[...events].reverse().map((event) => line(event.time, event.text)));
}

function line(time, text, more) {
  const made = element("li");
  const when = element("time", moment(time));
  when.dateTime = new Date(1000 * time).toISOString();
  made.append(when);
  if (more) made.append(element("b", more));
  made.append(element("span", text));
  return made;
}
