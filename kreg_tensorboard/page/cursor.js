// Reading a chart with the pointer and the keyboard: the values of its lines
// at a step, and the part of the x-axis to zoom into.

import { MARGIN } from "./axes.js";
import { nearest, valueAt } from "./lines.js";

const REACH = 14; // pixels from a line at which the pointer is on it
const LEAST_DRAG = 8;

export function listen(chart) {
  let start = null; // of a drag, in pixels
  const listenTo = (type, does) => chart.svg.addEventListener(type, does);
  const leave = () => {
    start = null;
    chart.on.highlight(null);
    chart.on.cursor(null, chart);
  };
  listenTo("pointerleave", leave);
  listenTo("blur", leave);
  listenTo("pointermove", (event) => {
    if (!chart.steps.length) return;
    const [x, height] = position(chart, event);
    read(chart, nearest(chart.steps, chart.x.from(x)), height);
    if (start !== null) chart.showSelection(start, x);
  });
  listenTo("pointerdown", (event) => {
    if (chart.steps.length) [start] = position(chart, event);
  });
  listenTo("pointerup", (event) => {
    if (start === null) return;
    const ends = [start, position(chart, event)[0]].sort((a, b) => a - b);
    start = null;
    if (ends[1] - ends[0] >= LEAST_DRAG) chart.on.zoom(ends.map(chart.x.from));
  });
  listenTo("dblclick", () => chart.on.zoom(null));
  listenTo("keydown", (event) => keyDown(chart, event));
}

// From the left of the drawing area and above the axis, in pixels.
function position(chart, event) {
  const box = chart.svg.getBoundingClientRect();
  const x = event.clientX - box.left - MARGIN.left;
  const y = event.clientY - box.top - MARGIN.top;
  return [Math.max(0, Math.min(chart.size.width, x)), chart.size.height - y];
}

function read(chart, step, height) {
  let closest = null;
  let distance = REACH;
  for (const line of chart.visible) {
    const at = chart.heightOf(valueAt(line, step));
    if (at !== null && Math.abs(at - height) < distance) {
      closest = line.key;
      distance = Math.abs(at - height);
    }
  }
  chart.on.highlight(closest);
  chart.on.cursor(step, chart);
  chart.showCursor(step, chart.y.from(height));
}

function keyDown(chart, event) {
  if (event.key === "Escape") {
    chart.on.cursor(null, chart);
    chart.on.zoom(null);
    return;
  }
  const { steps, cursor } = chart;
  const last = steps.length - 1;
  const at = cursor === null ? last : steps.indexOf(cursor);
  const next = {
    ArrowLeft: Math.max(0, at - 1),
    ArrowRight: Math.min(last, at + 1),
    Home: 0,
    End: last,
  }[event.key];
  if (next === undefined || last < 0) return;
  event.preventDefault();
  chart.on.cursor(steps[next], chart);
  chart.showCursor(steps[next], chart.y.from(chart.size.height));
}
