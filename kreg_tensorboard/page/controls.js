// The controls at the top of the page.

import { button, element, select } from "./dom.js";
import { title } from "./figures.js";
import { formatStep } from "./format.js";
import { figuresOf, subjects, VIEWS, WHOLE_MODEL } from "./views.js";

export class Controls {
  // `on` is {change(changes), toggleLog(), resetZoom()}.
  constructor(on) {
    this.views = Object.entries(VIEWS).map(([view, label]) =>
      button(label, { "data-view": view }, () => on.change({ view })),
    );
    this.run = select("Run", "run", (run) => on.change({ run }));
    this.figure = select("Figure", "figure", (figure) => on.change({ figure }));
    this.subject = select("of", "subject", (subject) => on.change({ subject }));
    this.log = button(
      "Log scale",
      { class: "toggle", "data-control": "log" },
      on.toggleLog,
    );
    this.resetZoom = button(
      "Reset zoom",
      { class: "toggle", "data-control": "reset-zoom", hidden: true },
      on.resetZoom,
    );
    this.status = element("span", {
      class: "status",
      role: "status",
      "data-status": true,
    });
    this.node = element(
      "header",
      { class: "controls" },
      element(
        "div",
        { class: "segments", role: "group", "aria-label": "View" },
        ...this.views,
      ),
      this.run.node,
      this.figure.node,
      this.subject.node,
      this.log,
      this.resetZoom,
      this.status,
    );
  }

  update(runs, run, state, views) {
    const { view } = state;
    for (const node of this.views) {
      node.hidden = !views.includes(node.dataset.view);
      node.setAttribute("aria-pressed", String(node.dataset.view === view));
    }
    this.run.update(runs.map(({ name }) => [name, name]), run.name);
    this.figure.update(
      figuresOf(runs, run, state).map((figure) => [figure, title(figure)]),
      state.figure,
    );
    this.subject.update(
      [
        [WHOLE_MODEL, "whole model"],
        ...subjects(runs).map((path) => [path, path]),
      ],
      state.subject,
    );
    this.run.node.hidden = view === "compare";
    this.figure.node.hidden = view === "model";
    this.subject.node.hidden = view !== "compare";
    this.log.setAttribute("aria-pressed", String(state.log));
  }

  // A run whose step has grown since it was last shown is being followed.
  showStep({ name, step }) {
    const grown = this.shown?.name === name && step > this.shown.step;
    this.shown = { name, step };
    this.#showStatus(`Step ${formatStep(step)}`, grown ? "live" : "", "");
    this.status.dataset.step = step;
  }

  showError(error) {
    const text = "TensorBoard does not answer; trying again";
    this.#showStatus(text, "lost", error.message);
  }

  #showStatus(text, kind, details) {
    this.status.className = `status ${kind}`;
    this.status.textContent = text;
    this.status.title = details;
  }
}
