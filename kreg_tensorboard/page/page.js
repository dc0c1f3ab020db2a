// The page: what it shows, and the polling that follows a fit.

import { Controls } from "./controls.js";
import { fetchRuns, fetchSeries } from "./data.js";
import { element } from "./dom.js";
import { formatStep } from "./format.js";
import { isShown } from "./frame.js";
import { latestQuery, latestTable } from "./latest.js";
import { extent } from "./lines.js";
import { Panel } from "./panel.js";
import { Run } from "./run.js";
import { remember, remembered, settle, viewsFor } from "./state.js";
import { Table } from "./table.js";
import { panels, query } from "./views.js";

const POLL_EVERY = 4000; // milliseconds

export class Page {
  constructor(body) {
    this.state = remembered();
    this.data = null; // what is shown: {runs, run, state, series, latest}
    this.zoom = null;
    this.hidden = new Map(); // of each view, the keys of its hidden lines
    this.panels = new Map();
    this.turn = 0; // of requests: the answer to an earlier one is dropped
    this.waiting = 0; // requests under way
    this.controls = new Controls({
      change: (changes) => this.change(changes),
      toggleLog: () => this.#toggleLog(),
      resetZoom: () => this.#zoomTo(null),
    });
    this.message = element(
      "p",
      { class: "message", "data-message": true },
      "Loading…",
    );
    this.main = element("main");
    this.table = new Table({ highlight: (key) => this.#highlight(key) });
    body.replaceChildren(
      this.controls.node,
      this.message,
      this.main,
      this.table.node,
    );
  }

  async start() {
    await this.refresh();
    const poll = () => {
      if (isShown() && !this.waiting) this.refresh();
    };
    document.addEventListener("visibilitychange", poll);
    setInterval(poll, POLL_EVERY);
  }

  async refresh() {
    const turn = ++this.turn;
    this.waiting += 1;
    try {
      const runs = (await fetchRuns()).map((run) => new Run(run));
      if (turn === this.turn) await this.#load(runs, turn);
    } catch (error) {
      if (turn === this.turn) this.controls.showError(error);
    } finally {
      this.waiting -= 1;
    }
  }

  change(changes) {
    if (!("figure" in changes)) this.zoom = null;
    Object.assign(this.state, changes);
    remember(this.state);
    this.refresh();
  }

  draw() {
    const { runs, run, state, series, latest } = this.data;
    const contents = panels(runs, run, series, state);
    const keys = contents.map(({ name }) =>
      state.view === "model" ? `model ${name}` : state.view,
    );
    const shown = new Map(
      keys.map((key) => [key, this.panels.get(key) ?? this.#panel(state.view)]),
    );
    if (keys.join() !== [...this.panels.keys()].join()) {
      this.main.replaceChildren(...[...shown.values()].map(({ node }) => node));
    }
    this.panels = shown;
    this.main.dataset.view = state.view;
    const charts = contents.flatMap((content) => content.charts);
    const domain = this.zoom ?? extent(charts.flatMap(({ lines }) => lines));
    contents.forEach((content, i) => {
      shown.get(keys[i]).update(content, this.state.log, domain);
    });
    const heading =
      state.view === "compare"
        ? "Latest reading of each run"
        : `Latest reading, at step ${formatStep(run.step)}`;
    this.table.update(heading, latestTable(runs, run, latest, state));
    this.controls.resetZoom.hidden = !this.zoom;
  }

  // Asks for series only if what is chosen or logged has changed.
  async #load(runs, turn) {
    this.message.hidden = runs.length > 0;
    if (!runs.length) {
      this.message.textContent =
        "No run of kreg here yet: the page follows as soon as one begins.";
      return;
    }
    const run = settle(this.state, runs);
    this.controls.update(runs, run, this.state, viewsFor(runs, run));
    const state = { ...this.state };
    const wanted = [query(runs, run, state), latestQuery(runs, run, state)];
    const asked = JSON.stringify([wanted, runs.map(({ time }) => time)]);
    if (asked !== this.asked) {
      const [series, latest] = await Promise.all(wanted.map(fetchSeries));
      if (turn !== this.turn) return;
      this.asked = asked;
      this.data = { runs, run, state, series, latest };
      this.draw();
    }
    this.controls.showStep(run);
  }

  #panel(view) {
    if (!this.hidden.has(view)) this.hidden.set(view, new Set());
    return new Panel(this.hidden.get(view), view === "model", {
      change: () => this.draw(),
      cursor: (step, source) => this.#showCursor(step, source),
      highlight: (key) => this.#highlight(key),
      zoom: (domain) => this.#zoomTo(domain),
    });
  }

  #showCursor(step, source) {
    for (const panel of this.panels.values()) panel.showCursor(step, source);
  }

  #highlight(key) {
    for (const panel of this.panels.values()) panel.highlight(key);
    this.table.highlight(key);
  }

  #toggleLog() {
    this.state.log = !this.state.log;
    remember(this.state);
    this.controls.log.setAttribute("aria-pressed", String(this.state.log));
    if (this.data) this.draw();
  }

  #zoomTo(domain) {
    this.zoom = domain;
    this.draw();
  }
}
