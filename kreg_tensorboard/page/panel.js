// A card of charts that share a legend, an x-axis and a cursor.

import { Chart } from "./chart.js";
import { element } from "./dom.js";
import { Legend } from "./legend.js";
import { valueAt } from "./lines.js";

const HEIGHT = 320;
const LOWER_HEIGHT = 150;
const SMALL_HEIGHT = 200;

export class Panel {
  // `hidden` are the keys of the lines that are not shown; `on` is
  // {change(), cursor(step, chart), highlight(key), zoom(domain)}.
  constructor(hidden, small, on) {
    this.hidden = hidden;
    this.small = small;
    this.on = on;
    this.charts = new Map();
    this.title = element("h2");
    this.meaning = element("p", { class: "meaning" });
    this.plots = element("div", { class: "plots" });
    this.step = null; // of the cursor
    this.legend = new Legend(hidden, on);
    this.node = element(
      "section",
      { class: small ? "card panel small" : "card panel" },
      element("header", {}, this.title, this.meaning),
      element("div", { class: "body" }, this.plots, this.legend.node),
    );
  }

  update(panel, log, domain) {
    this.panel = panel;
    this.node.dataset.panel = panel.name;
    this.title.textContent = panel.title;
    this.meaning.textContent = panel.meaning;
    this.legend.update(panel.names, panel.start);
    this.legend.node.hidden = this.small && panel.names.length < 2;
    const charts = new Map();
    panel.charts.forEach((content, index) => {
      const { name } = content;
      const chart = this.charts.get(name) ?? this.#chart(name, index);
      charts.set(name, chart);
      chart.update({ ...content, log, domain, hidden: this.hidden });
    });
    if ([...charts.keys()].join() !== [...this.charts.keys()].join()) {
      const nodes = panel.charts.flatMap(({ name, label }, index) => [
        ...(index ? [element("h3", {}, label)] : []),
        charts.get(name).node,
      ]);
      this.plots.replaceChildren(...nodes);
    }
    this.charts = charts;
    this.#showValues(this.step);
  }

  // In all charts but the one that is read and shows it itself.
  showCursor(step, source) {
    this.step = step;
    for (const chart of this.charts.values()) {
      if (chart !== source || step === null) chart.showCursor(step);
    }
    this.#showValues(step);
  }

  highlight(key) {
    this.legend.highlight(key);
    for (const chart of this.charts.values()) chart.highlight(key);
  }

  // The values at a step in the legend, the latest without one.
  #showValues(step) {
    const [main] = this.panel.charts;
    const values = new Map();
    for (const line of main.lines) {
      const value = step === null ? line.values.at(-1) : valueAt(line, step);
      values.set(line.key, [...(values.get(line.key) ?? []), value]);
    }
    this.legend.showValues(step, values, main.kind);
  }

  #chart(name, index) {
    const height = this.small ? SMALL_HEIGHT : index ? LOWER_HEIGHT : HEIGHT;
    return new Chart(name, height, this.on);
  }
}
