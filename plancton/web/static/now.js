// What goes on now: figures, workers, problems.

import { byId, bytes, cpus, count, duration, element, moment, percent, setText, show } from "./format.js";
import { Live } from "./chart.js";

const SECONDS = 120;

export class NowView {
  figures = [];
  chart = null;

  show(now, live) {
    const { figures, status } = now;
    document.title = `${status ? status.mode : "not running"} · Plancton on ${now.host}`;
    setText("host", `on ${now.host}${live ? "" : `, ${moment(now.time)}`}`);
    setText("sentence", status ? status.sentence : now.message);
    setText("decision", status ? status.decision : "–");
    byId("decision").parentElement.hidden = !status;
    showMode(status);
    showFigures(figures);
    showProblems(status ? status.problems || [] : []);
    showWorkers(status ? status.workers || [] : [], figures.workers);
  }

  // Only while it is looked at: the last two minutes of it.
  draw(now) {
    this.figures.push({ time: now.time, owner: now.figures.owner, donated: now.figures.donated });
    while (this.figures[0].time < now.time - SECONDS || this.figures[0].time > now.time) this.figures.shift();
    this.chart ||= new Live(byId("live"));
    this.chart.draw(this.figures, now.figures.cpus, now.time);
  }
}

function showMode(status) {
  show("mode", true);
  const mode = status ? status.mode : "not running";
  setText("mode", mode);
  byId("mode").dataset.mode = mode;
  setText("pause", status?.pause?.by === "owner" ? "Resume" : "Pause");
  setText("drain", mode === "draining" ? "Resume" : "Drain");
  for (const id of ["pause", "drain", "stop"]) byId(id).setAttribute("aria-disabled", status ? "false" : "true");
}

function showFigures(figures) {
  const all = figures.cpus || 1;
  for (const name of ["owner", "donated", "idle"]) setText(name, cpus(figures[name]));
  for (const name of ["owner", "engine", "donated"]) {
    byId(`bar-${name}`).style.setProperty("width", `${Math.min(100, (100 * (figures[name] || 0)) / all)}%`);
  }
  setText("memory", bytes(figures.memory_donated));
}

function showProblems(problems) {
  const list = byId("problems");
  list.hidden = !problems.length;
  if (list.dataset.shown === problems.join("\n")) return;
  list.dataset.shown = problems.join("\n");
  list.replaceChildren(...problems.map((each) => element("li", each)));
}

function showWorkers(workers, measured) {
  show("workers", workers.length > 0);
  show("no-workers", workers.length === 0);
  const [body] = byId("workers").tBodies;
  const names = workers.map((worker) => worker.name).join(" ");
  if (body.dataset.names !== names) {
    body.dataset.names = names;
    body.replaceChildren(...workers.map((worker) => newRow(worker.name)));
  }
  workers.forEach((worker, n) => fill(body.rows[n].cells, worker, measured[worker.name] ?? worker.cpu));
}

// Rows stay, so that nobody who reads in them loses their place each second.
function newRow(name) {
  const row = element("tr");
  const heading = element("th", name.replace(/^plancton-worker-/, ""));
  heading.scope = "row";
  heading.title = name;
  const meter = element("i", undefined, "meter");
  meter.append(element("i", undefined, "donated"));
  const used = element("td", undefined, "number");
  used.append(meter, element("span"));
  row.append(heading, element("td"), used, element("td", "", "number"), element("td", "", "number wide"));
  return row;
}

function fill([, state, cpu, memory, age], worker, used) {
  const [meter, text] = cpu.children;
  meter.firstChild.style.setProperty("width", `${Math.min(100, (100 * (used || 0)) / (worker.cpus || 1))}%`);
  text.textContent = percent(used);
  state.textContent = stateOf(worker);
  memory.textContent = bytes(worker.memory);
  age.textContent = duration(worker.age);
}

function stateOf(worker) {
  const words = [worker.phase];
  if (worker.jobs != null) words.push(worker.jobs ? `${count(worker.jobs, "job")}, ${duration(worker.job_age)}` : "no job");
  if (worker.phase === "running" && worker.fits === false) words.push("waits for CPU");
  if (worker.paused) words.push("paused");
  if (worker.stuck) words.push("stuck");
  return words.join(", ");
}
