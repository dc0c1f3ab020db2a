// What each view asks for and shows: the panels of charts, from the runs, the
// series and the state of the page {view, run, figure, subject, log}.

import { inOrder, kind, meaning, title } from "./figures.js";
import { commonStart } from "./format.js";
import { style } from "./lines.js";

export const WHOLE_MODEL = "";
export const VIEWS = {
  weights: "Weights",
  layers: "Layers",
  model: "Model",
  compare: "Compare runs",
};

// Figures of the whole model that are read best on one chart.
const TOGETHER = [
  {
    figures: ["data_loss", "penalty"],
    title: "Data loss and penalty",
    meaning: "The two parts of the loss.",
  },
  {
    figures: ["sparsity", "near_zero"],
    title: "Sparsity and near zero",
    meaning: "Fractions of weights at 0 and near it.",
  },
];

export function figuresOf(runs, run, { view, subject }) {
  if (view !== "compare") return inOrder(run.figures(view));
  const scope = subject ? "weights" : "model";
  return inOrder(new Set(runs.flatMap((one) => one.figures(scope))));
}

// The weights that runs can be compared by.
export function subjects(runs) {
  return [...new Set(runs.flatMap(({ paths }) => paths))];
}

export function query(runs, run, state) {
  const { view, figure } = state;
  if (view === "model") return { run: run.name, group: "kreg" };
  if (view === "compare") {
    const found = runs.flatMap((one) => comparedTags(one, state));
    const tags = new Set(found.map(({ tag }) => tag));
    return { run: runs.map(({ name }) => name), tag: [...tags] };
  }
  const groups = figuresWith(figure).map((one) => run.group(view, one));
  return { run: run.name, group: groups };
}

// Panels are {name, title, meaning, names, start, charts}: `names` are those
// of the legend, all within `start`, and a chart is {name, label, kind, lines}.
export function panels(runs, run, series, state) {
  if (state.view === "model") return modelPanels(series[run.name]);
  if (state.view === "compare") return [comparePanel(runs, series, state)];
  return [figurePanel(run, series[run.name], state)];
}

function figurePanel(run, series, { view, figure }) {
  const keys = view === "layers" ? run.layers : run.paths;
  const linesOf = (one) =>
    run
      .tags(view, one)
      .filter(({ tag }) => tag in series)
      .map(({ tag, path, part }) => ({ key: path, part, ...series[tag] }));
  const panel = panelOf(figuresWith(figure), keys, linesOf);
  if (view === "layers") return panel;
  const known = new Map(run.weights.map((weight) => [weight.path, weight]));
  const names = panel.names.map((name) => {
    const weight = known.get(name.key);
    return { ...name, regularized: weight && weight.regularizer != null };
  });
  return { ...panel, names };
}

function comparePanel(runs, series, state) {
  const { figure, subject } = state;
  const linesOf = (one) =>
    runs.flatMap((run) =>
      comparedTags(run, { subject, figure })
        .filter((found) => found.figure === one)
        .filter(({ tag }) => tag in series[run.name])
        .map(({ tag, part }) => ({
          key: run.name,
          part,
          ...series[run.name][tag],
        })),
    );
  const names = runs.map(({ name }) => name);
  const panel = panelOf(figuresWith(figure), names, linesOf);
  return { ...panel, title: `${panel.title} of ${subject || "the whole model"}` };
}

// Under a sparsity, the strength that brings it about.
function figuresWith(figure) {
  return figure === "sparsity" ? [figure, "strength"] : [figure];
}

function comparedTags(run, { figure, subject }) {
  if (!subject) return [{ tag: `kreg/${figure}`, part: null, figure }];
  return figuresWith(figure).flatMap((one) =>
    run
      .tags("weights", one)
      .filter(({ path }) => path === subject)
      .map(({ tag, part }) => ({ tag, part, figure: one })),
  );
}

function panelOf(figures, keys, linesOf) {
  const start = commonStart(keys);
  const charts = figures.map((figure) => ({
    name: figure,
    label: title(figure),
    kind: kind(figure),
    lines: styled(linesOf(figure), keys, start),
  }));
  const present = new Set(charts[0].lines.map(({ key }) => key));
  return {
    name: figures[0],
    title: title(figures[0]),
    meaning: meaning(figures[0]),
    start,
    names: keys
      .map((key, index) => ({
        key,
        label: key.slice(start.length),
        style: style(index),
      }))
      .filter(({ key }) => present.has(key)),
    charts: charts.filter(({ lines }, index) => index === 0 || lines.length),
  };
}

function styled(lines, keys, start) {
  const places = new Map(keys.map((key, index) => [key, index]));
  const parts = new Map();
  return lines.map((line) => {
    const part = parts.get(line.key) ?? 0;
    parts.set(line.key, part + 1);
    const label = line.key.slice(start.length);
    return { ...line, label, style: style(places.get(line.key), part) };
  });
}

function modelPanels(series) {
  const figures = Object.keys(series).map((tag) => tag.slice("kreg/".length));
  const left = new Set(figures);
  const groups = [];
  for (const { figures: together, ...texts } of TOGETHER) {
    const found = together.filter((figure) => left.delete(figure));
    if (found.length === 1) groups.push({ figures: found });
    if (found.length > 1) groups.push({ figures: found, ...texts });
  }
  for (const figure of inOrder(left)) groups.push({ figures: [figure] });
  return groups.map(({ figures, ...texts }) => ({
    name: figures[0],
    title: title(figures[0]),
    meaning: meaning(figures[0]),
    ...texts,
    names: figures.map((figure, index) => ({
      key: figure,
      label: title(figure),
      style: style(index),
    })),
    charts: [
      {
        name: figures[0],
        label: texts.title ?? title(figures[0]),
        kind: kind(figures[0]),
        lines: figures.map((figure, index) => ({
          key: figure,
          label: title(figure),
          part: null,
          style: style(index),
          ...series[`kreg/${figure}`],
        })),
      },
    ],
  }));
}
