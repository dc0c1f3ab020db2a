// The lines of a chart by name: click to hide or show, hover to highlight.

import { button, element } from "./dom.js";
import { formatFully, formatStep, formatValue, shorten } from "./format.js";
import { swatch } from "./lines.js";

const NAME_LENGTH = 37;
const MANY = 12;

export class Legend {
  // `on` is {change(), highlight(key)}; `hidden` the set of keys to change.
  constructor(hidden, on) {
    this.hidden = hidden;
    this.on = on;
    this.entries = new Map();
    this.filter = element("input", {
      type: "search",
      placeholder: "Filter names",
      "aria-label": "Filter names",
      "data-control": "filter",
    });
    this.filter.addEventListener("input", () => this.#applyFilter());
    this.regularized = button(
      "Regularized",
      { "data-control": "regularized", title: "Only weights with a regularizer" },
      () => this.#showRegularized(),
    );
    this.caption = element("span", { class: "caption" });
    this.start = element("div", { class: "start" });
    this.list = element("div", { class: "entries" });
    this.node = element(
      "div",
      { class: "legend", "data-legend": true },
      this.filter,
      element(
        "div",
        { class: "bar" },
        button("All", { "data-control": "all" }, () => this.#showAll(true)),
        button("None", { "data-control": "none" }, () => this.#showAll(false)),
        this.regularized,
        this.caption,
      ),
      this.start,
      this.list,
    );
  }

  // `names` are {key, label, style, regularized}, the labels without the
  // `start` of all, and the last only where it is known.
  update(names, start = "") {
    this.start.textContent = start && `in ${start}`;
    this.start.hidden = !start;
    const wanted = JSON.stringify(names);
    if (this.wanted !== wanted) {
      this.wanted = wanted;
      this.entries.clear();
      for (const name of names) this.entries.set(name.key, this.#entry(name));
      this.list.replaceChildren(...[...this.entries.values()].map((e) => e.node));
      this.regularized.hidden = !(
        names.some((name) => name.regularized === true) &&
        names.some((name) => name.regularized === false)
      );
      this.filter.hidden = names.length <= MANY;
      if (this.filter.hidden) this.filter.value = "";
      this.#applyFilter();
    }
    for (const [key, { node }] of this.entries) {
      node.setAttribute("aria-pressed", String(!this.hidden.has(key)));
    }
  }

  // Values at a step: {key: [value, ...]}, several where a key has parts.
  showValues(step, values, kind) {
    this.caption.textContent = step === null ? "latest" : `at step ${formatStep(step)}`;
    for (const [key, { value }] of this.entries) {
      const found = values.get(key) ?? [];
      value.textContent = found.map((v) => formatValue(v, kind)).join(", ");
      value.title = found.map(formatFully).join(", ");
      value.dataset.value = found.join(" ");
    }
  }

  highlight(key) {
    for (const [other, { node }] of this.entries) {
      node.classList.toggle("strong", other === key);
    }
  }

  #entry({ key, label, style, regularized }) {
    const value = element("span", { class: "value" });
    const node = button(
      "",
      {
        class: "entry",
        "data-key": key,
        "aria-label": key,
        title: `${key}\nClick to hide or show; with Shift, to show it alone`,
      },
      (event) => this.#toggle(key, event.shiftKey),
    );
    node.append(
      swatch(style),
      element("span", { class: "name" }, shorten(label, NAME_LENGTH)),
      value,
    );
    for (const type of ["pointerenter", "focus"]) {
      node.addEventListener(type, () => this.on.highlight(key));
    }
    for (const type of ["pointerleave", "blur"]) {
      node.addEventListener(type, () => this.on.highlight(null));
    }
    return { node, value, regularized };
  }

  #toggle(key, alone) {
    if (alone) {
      for (const other of this.entries.keys()) this.hidden.add(other);
      this.hidden.delete(key);
    } else if (!this.hidden.delete(key)) {
      this.hidden.add(key);
    }
    this.on.change();
  }

  // All that the filter lets through.
  #showAll(shown) {
    for (const [key, { node }] of this.entries) {
      if (node.hidden) continue;
      if (shown) this.hidden.delete(key);
      else this.hidden.add(key);
    }
    this.on.change();
  }

  #showRegularized() {
    for (const [key, { regularized }] of this.entries) {
      if (regularized) this.hidden.delete(key);
      else this.hidden.add(key);
    }
    this.on.change();
  }

  #applyFilter() {
    const text = this.filter.value.trim().toLowerCase();
    for (const [key, { node }] of this.entries) {
      node.hidden = !key.toLowerCase().includes(text);
    }
  }
}
