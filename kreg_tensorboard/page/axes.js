// The axes of a chart, from the lower left corner of its drawing area.

import { svg } from "./dom.js";
import { formatStep, formatTick } from "./format.js";

export const MARGIN = { top: 10, right: 24, bottom: 26, left: 66 };
const LABEL_WIDTH = 70;

// Without a `y` scale there is only the x-axis.
export function drawAxes({ width, height }, x, y, kind) {
  return [
    ...(y?.ticks ?? []).flatMap((tick) => {
      const at = height - y.at(tick);
      return [
        svg("line", { class: "grid", x1: 0, x2: width, y1: at, y2: at }),
        svg(
          "text",
          { class: "tick y", x: -8, y: at, dy: "0.32em" },
          formatTick(tick, kind, y.gap(tick)),
        ),
      ];
    }),
    svg("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }),
    ...stepTicks(x.ticks, width).flatMap((tick) => {
      const at = x.at(tick);
      return [
        svg("line", { class: "axis", x1: at, x2: at, y1: height, y2: height + 4 }),
        svg("text", { class: "tick x", x: at, y: height + 18 }, formatStep(tick)),
      ];
    }),
  ];
}

// Whole steps, and no more of them than there is room for.
function stepTicks(ticks, width) {
  const whole = ticks.filter(Number.isInteger);
  const most = Math.max(2, Math.floor(width / LABEL_WIDTH));
  const every = Math.ceil(whole.length / most);
  return whole.filter((_, i) => i % every === 0);
}
