// The values of the lines at one step, beside the pointer.

import { element } from "./dom.js";
import { formatFully, formatStep, formatValue, shorten } from "./format.js";
import { swatch, valueAt } from "./lines.js";

const MOST_ROWS = 10;
const NAME_LENGTH = 36;

export class Tooltip {
  constructor() {
    this.node = element("div", { class: "tooltip", role: "status", hidden: true });
  }

  hide() {
    this.node.hidden = true;
  }

  // The lines closest to `value`, if they are too many, highest first.
  show(step, lines, value, kind) {
    const readings = lines
      .map((line) => ({ line, value: valueAt(line, step) }))
      .filter((reading) => reading.value !== undefined);
    const shown = [...readings]
      .sort((a, b) => distance(a, value) - distance(b, value))
      .slice(0, MOST_ROWS)
      .sort((a, b) => height(b) - height(a));
    const closest = shown.reduce(
      (best, one) => (distance(one, value) < distance(best, value) ? one : best),
      shown[0],
    );
    const more = readings.length - shown.length;
    this.node.replaceChildren(
      element("div", { class: "step", "data-step": step }, `Step ${formatStep(step)}`),
      element(
        "table",
        {},
        ...shown.map((reading) => row(reading, reading === closest, kind)),
      ),
    );
    if (more > 0) {
      const text = `and ${more} more, in the legend`;
      this.node.append(element("div", { class: "more" }, text));
    }
    this.node.hidden = false;
  }

  place(x, width) {
    const room = this.node.offsetWidth + 16;
    const left = x + room < width ? x + 14 : x - room;
    this.node.style.left = `${Math.max(0, left)}px`;
  }
}

function row({ line, value }, closest, kind) {
  const name = line.part ? `${line.label} · ${line.part}` : line.label;
  return element(
    "tr",
    { class: closest ? "closest" : null, "data-key": line.key },
    element("td", {}, swatch(line.style)),
    element("td", { class: "name" }, shorten(name, NAME_LENGTH)),
    element(
      "td",
      { class: "value", "data-value": value, title: formatFully(value) },
      formatValue(value, kind),
    ),
  );
}

function distance({ value }, other) {
  return Number.isNaN(value) ? Infinity : Math.abs(value - other);
}

function height({ value }) {
  return Number.isNaN(value) ? -Infinity : value;
}
