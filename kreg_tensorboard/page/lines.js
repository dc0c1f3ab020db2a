// Lines of a chart: {key, label, part, style, steps, values}. The key is what
// a legend shows and hides; its colour depends on its place among all keys
// alone, so that a weight keeps it in every chart.

import { svg } from "./dom.js";

const COLOURS = 10;
const DASHES = 4;

// `part` is the place of a line among those of its key.
export function style(index, part = 0) {
  const dash = (Math.floor(index / COLOURS) + 2 * part) % DASHES;
  return `colour-${index % COLOURS} dash-${dash}`;
}

export function swatch(style) {
  return svg(
    "svg",
    { class: "swatch", width: 22, height: 8, "aria-hidden": "true" },
    svg("path", { class: `line ${style}`, d: "M1 4H21" }),
  );
}


// The index of the last point at or before a step; -1 outside of the line.
export function indexAt({ steps }, step) {
  if (!steps.length || step < steps[0] || step > steps.at(-1)) return -1;
  let low = 0;
  let high = steps.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (steps[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function valueAt(line, step) {
  return line.values[indexAt(line, step)];
}

export function allSteps(lines) {
  const steps = new Set();
  for (const line of lines) for (const step of line.steps) steps.add(step);
  return [...steps].sort((a, b) => a - b);
}

// From the first to the last step of all lines.
export function extent(lines) {
  let first = Infinity;
  let last = -Infinity;
  for (const { steps } of lines) {
    if (!steps.length) continue;
    first = Math.min(first, steps[0]);
    last = Math.max(last, steps.at(-1));
  }
  if (first > last) return [0, 1];
  return first === last ? [first - 1, last + 1] : [first, last];
}

export function nearest(steps, step) {
  let best = steps[0];
  let low = 0;
  let high = steps.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (Math.abs(steps[middle] - step) < Math.abs(best - step)) {
      best = steps[middle];
    }
    if (steps[middle] < step) low = middle + 1;
    else high = middle - 1;
  }
  return best;
}

// The path of a line, where `at` gives the place of a step and a value, or
// null for a gap; of the points outside of the domain, only those next to it.
export function pathOf({ steps, values }, [first, last], at) {
  let path = "";
  let length = 0; // of the piece since the last gap
  const endPiece = () => {
    if (length === 1) path += "h0"; // a dot
    length = 0;
  };
  steps.forEach((step, i) => {
    const far = steps[i + 1] < first || steps[i - 1] > last;
    const place = far ? null : at(step, values[i]);
    if (place === null) {
      endPiece();
      return;
    }
    const [x, y] = place;
    path += `${length ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    length += 1;
  });
  endPiece();
  return path;
}
