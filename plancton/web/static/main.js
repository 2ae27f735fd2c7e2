// Starts the page, and keeps it up to date while somebody looks at it.

import { byId, setText, show } from "./format.js";
import { Server, Written, WrongToken } from "./source.js";
import { NowView } from "./now.js";
import { PastView } from "./past.js";

const TICK = 1000, PAST_TICKS = 60;

class App {
  constructor(source, first) {
    this.source = source;
    this.now = new NowView();
    this.past = new PastView(source, first);
    this.ticks = 0;
    this.lastEvent = null;
  }

  async run() {
    await this.tick();
    if (!this.source.live) return;
    show("requests", true);
    setInterval(() => this.tick(), TICK);
    document.addEventListener("visibilitychange", () => this.tick());
    for (const id of ["pause", "drain"]) {
      byId(id).addEventListener("click", () => this.ask(byId(id).textContent.toLowerCase()));
    }
    byId("stop").addEventListener("click", () => byId("stop").ariaDisabled !== "true" && byId("sure").showModal());
    byId("sure").addEventListener("close", () => byId("sure").returnValue === "stop" && this.ask("stop"));
  }

  async tick() {
    if (document.hidden || this.busy) return;
    this.busy = true;
    try {
      await this.look();
      if (this.failed) this.say("");
      this.failed = false;
    } catch (error) {
      if (!(error instanceof WrongToken)) this.say(error.message);
      else await this.askForToken();
      this.failed = true;
    }
    this.busy = false;
  }

  async look() {
    const now = await this.source.now();
    this.now.show(now, this.source.live);
    if (this.source.live) this.now.draw(now);
    this.past.ahead = now.time - Date.now() / 1000;
    const event = now.status?.events?.at(-1)?.time ?? null;
    if (this.ticks % PAST_TICKS === 0 || this.failed || (event !== this.lastEvent && this.ticks % 5 === 0)) {
      this.lastEvent = event;
      await this.past.load();
    }
    this.ticks += 1;
    setText("about", `Plancton ${now.version}`);
  }

  async ask(what) {
    if (byId("drain").ariaDisabled === "true") return;
    try {
      this.say((await this.source.ask(what)).message);
    } catch (error) {
      if (error instanceof WrongToken) this.say("This page is from before the server started again: load it again.");
      else this.say(error.message);
    }
  }

  say(text) {
    clearTimeout(this.silence);
    setText("said", text);
    if (text) this.silence = setTimeout(() => setText("said", ""), 10000);
  }

  askForToken() {
    show("wrong", this.typed);
    byId("token").value = "";
    byId("ask").showModal();
    return new Promise((resolve) => {
      byId("ask").addEventListener("close", () => {
        this.typed = true;
        this.source.remember(byId("token").value);
        resolve();
      }, { once: true });
    });
  }
}

const inside = byId("data");
const data = inside && JSON.parse(inside.textContent);
const token = document.querySelector('meta[name="plancton-token"]')?.content;
new App(data ? new Written(data) : new Server(token), data?.first).run();
