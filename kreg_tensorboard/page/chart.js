// One chart: axes, lines, and a cursor that reads every line at one step.

import { drawAxes, MARGIN } from "./axes.js";
import { listen } from "./cursor.js";
import { element, svg } from "./dom.js";
import { allSteps, pathOf, valueAt } from "./lines.js";
import { linearDomain, linearScale, logDomain, logScale } from "./scale.js";
import { Tooltip } from "./tooltip.js";

const EDGE = 4; // of the drawing area, so that lines at its border are whole
const MOST_DOTS = 60;
const MANY = 20;

export class Chart {
  // `on` is {cursor(step, chart), highlight(key), zoom(domain)}, where null
  // stands for none.
  constructor(name, height, on) {
    this.on = on;
    this.height = height;
    this.cursor = null;
    this.reading = null;
    this.content = null;
    this.visible = [];
    this.steps = [];
    this.paths = [];
    this.svg = svg("svg", { class: "plot", tabindex: 0, role: "group", height });
    this.overlay = svg("g", { class: "cursor" });
    this.note = element("p", { class: "note" });
    this.tooltip = new Tooltip();
    this.node = element(
      "div",
      { class: "chart", "data-chart": name },
      this.svg,
      this.note,
      this.tooltip.node,
    );
    listen(this);
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  // `content` is {label, lines, kind, log, hidden, domain}.
  update(content) {
    this.content = content;
    this.svg.setAttribute(
      "aria-label",
      `${content.label} by step. Arrow keys read the values.`,
    );
    this.draw();
  }

  draw() {
    const width = this.node.clientWidth - MARGIN.left - MARGIN.right;
    if (!this.content || width < 40) return;
    const { lines, hidden, domain } = this.content;
    this.size = { width, height: this.height - MARGIN.top - MARGIN.bottom };
    this.visible = lines.filter(({ key }) => !hidden.has(key));
    this.steps = allSteps(this.visible).filter(
      (step) => step >= domain[0] && step <= domain[1],
    );
    this.#setScales();
    this.paths = this.visible.map((line) => this.#path(line));
    this.svg.setAttribute("width", this.node.clientWidth);
    this.svg.replaceChildren(
      svg(
        "g",
        { transform: `translate(${MARGIN.left} ${MARGIN.top})` },
        ...drawAxes(this.size, this.x, this.empty ? null : this.y, this.content.kind),
      ),
      svg(
        "svg",
        {
          class: this.visible.length > MANY ? "lines many" : "lines",
          x: MARGIN.left - EDGE,
          y: MARGIN.top - EDGE,
          width: width + 2 * EDGE,
          height: this.size.height + 2 * EDGE,
        },
        ...this.paths,
        this.overlay,
      ),
    );
    this.highlight(this.highlighted);
    this.showCursor(this.cursor, this.reading);
  }

  highlight(key) {
    const known = this.visible.some((line) => line.key === key);
    this.highlighted = key;
    for (const path of this.paths) {
      const strong = known && path.dataset.key === key;
      path.classList.toggle("strong", strong);
      path.classList.toggle("faint", known && !strong);
    }
  }

  // The crosshair at a step; with the values there, those next to `value`
  // first, in the chart that is being read.
  showCursor(step, value = null) {
    this.cursor = step;
    this.reading = value;
    this.overlay.replaceChildren();
    this.tooltip.hide();
    if (step === null || !this.steps.length) return;
    const x = this.x.at(step) + EDGE;
    const bottom = this.size.height + EDGE;
    this.overlay.append(svg("line", { x1: x, x2: x, y1: EDGE, y2: bottom }));
    for (const line of this.visible.slice(0, MOST_DOTS)) {
      const y = this.heightOf(valueAt(line, step));
      if (y === null) continue;
      this.overlay.append(
        svg("circle", { cx: x, cy: bottom - y, r: 3, class: line.style }),
      );
    }
    if (value === null) return;
    this.tooltip.show(step, this.visible, value, this.content.kind);
    this.tooltip.place(x - EDGE + MARGIN.left, this.node.clientWidth);
  }

  // Marks a part of the x-axis, between two places in pixels.
  showSelection(start, end) {
    this.overlay.append(
      svg("rect", {
        class: "selection",
        x: Math.min(start, end) + EDGE,
        y: EDGE,
        width: Math.abs(end - start),
        height: this.size.height,
      }),
    );
  }

  // Pixels above the axis; null for what cannot be drawn.
  heightOf(value) {
    const drawn = Number.isFinite(value) && !(this.content.log && value <= 0);
    return drawn ? this.y.at(value) : null;
  }

  #path(line) {
    const at = (step, value) => {
      const height = this.heightOf(value);
      if (height === null) return null;
      return [this.x.at(step) + EDGE, this.size.height - height + EDGE];
    };
    return svg("path", {
      d: pathOf(line, this.content.domain, at),
      class: `line ${line.style}`,
      "data-key": line.key,
      "data-part": line.part,
    });
  }

  #setScales() {
    const { domain, log } = this.content;
    let low = Infinity;
    let high = -Infinity;
    let someLeftOut = false;
    for (const { steps, values } of this.visible) {
      values.forEach((value, i) => {
        if (steps[i] < domain[0] || steps[i] > domain[1]) return;
        if (log && value <= 0) someLeftOut = true;
        else if (Number.isFinite(value)) {
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      });
    }
    this.empty = low > high;
    if (this.empty) [low, high] = [0.1, 1];
    const range = (log ? logDomain : linearDomain)(low, high);
    this.x = linearScale(...domain, this.size.width);
    this.y = (log ? logScale : linearScale)(...range, this.size.height);
    this.note.textContent = this.#noteText(someLeftOut);
    this.note.classList.toggle("instead", this.empty);
  }

  #noteText(someLeftOut) {
    if (!this.content.lines.length) return "No readings yet.";
    if (!this.visible.length) return "Every line is hidden: choose one in the legend.";
    if (this.empty && someLeftOut) return "No values above 0, which a log scale needs.";
    if (this.empty) return "No finite values.";
    return someLeftOut
      ? "Values of 0 or less are not drawn: the scale is logarithmic."
      : "";
  }
}
