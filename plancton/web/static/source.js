// Where the page has its data from: the server, or the page itself.

const PATIENCE = 20000; // milliseconds: to stop may take ten seconds
const CUT = ["events", "pauses"];

export class WrongToken extends Error {}

export class Server {
  live = true;

  constructor(token) {
    this.token = token || sessionStorage.getItem("token") || "";
  }

  remember(token) {
    this.token = token;
    sessionStorage.setItem("token", token);
  }

  now() {
    return this.call("GET", "api/now");
  }

  past(period) {
    const query = period.until ? `since=${period.since}&until=${period.until}` : `span=${period.span}`;
    return this.call("GET", `api/past?${query}`);
  }

  ask(what) {
    return this.call("POST", `api/${what}`);
  }

  async call(method, address) {
    let answer;
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      answer = await fetch(address, { method, signal, headers: { authorization: `Bearer ${this.token}` } });
    } catch {
      throw new Error("The server of this page does not answer: it has ended, or the connection is lost.");
    }
    if (answer.status === 401) throw new WrongToken();
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.message);
    return data;
  }
}

// `pasts` are those of a day, a week and so on, `charts` are longer ones with finer steps.
export class Written {
  live = false;

  constructor(data) {
    this.data = data;
  }

  async now() {
    return this.data.now;
  }

  async past(period) {
    const until = period.until || this.data.now.time;
    const since = period.since || until - period.span;
    const covers = this.data.pasts.filter((past) => past.since <= since + past.chart.step);
    const past = covers[0] || this.data.pasts.at(-1);
    const charts = [past.chart, ...this.data.charts].filter((chart) => chart.begin <= since + chart.step);
    const fits = charts.filter((chart) => (until - since) / chart.step <= 1500);
    const finest = fits.sort((a, b) => a.step - b.step)[0] || past.chart;
    const cut = { ...past, since, until, chart: cutChart(finest, since, until) };
    for (const name of CUT) {
      cut[name] = past[name].filter((each) => (each.time ?? each.begin + each.seconds) > since
        && (each.time ?? each.begin) < until);
    }
    return cut;
  }
}

function cutChart(chart, since, until) {
  const length = chart.lines.owner.length;
  const first = Math.max(0, Math.min(length - 1, Math.floor((since - chart.begin) / chart.step)));
  const last = Math.max(first + 1, Math.ceil((until - chart.begin) / chart.step));
  const lines = {};
  for (const [name, values] of Object.entries(chart.lines)) lines[name] = values.slice(first, last);
  return { begin: chart.begin + first * chart.step, step: chart.step, lines };
}
