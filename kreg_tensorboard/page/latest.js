// The table of the latest reading: a row for each weight of a run, or one for
// each run where runs are compared.

import { element } from "./dom.js";
import { inOrder, kind, meaning, title } from "./figures.js";
import { commonStart, formatFully, formatValue, shorten } from "./format.js";
import { style, swatch } from "./lines.js";

const NAME_LENGTH = 52;
const FIRST = [
  "sparsity",
  "near_zero",
  "l2_norm",
  "penalty",
  "penalty_share",
  "dead_units",
  "dead_inputs",
];

export function latestQuery(runs, run, { view }) {
  if (view === "compare") {
    return { run: runs.map(({ name }) => name), group: "kreg", points: 1 };
  }
  const groups = run.figures("weights").map((one) => run.group("weights", one));
  return { run: run.name, group: [...groups, "kreg"], points: 1 };
}

export function latestTable(runs, run, latest, { view }) {
  return view === "compare"
    ? tableOfRuns(runs, latest)
    : tableOfWeights(run, latest[run.name] ?? {}, view);
}

function tableOfWeights(run, latest, view) {
  const figures = run.figures("weights").filter((name) => name !== "strength");
  const known = new Map(run.weights.map((weight) => [weight.path, weight]));
  const strengths = strengthsOf(run, latest);
  const rows = run.paths.map((path, index) => ({
    key: path,
    path,
    style: view === "weights" ? style(index) : null,
    ...described(known.get(path)),
    strengths: strengths.get(path) ?? [],
    strength: strengths.get(path)?.[0].value, // to sort by
    ...valuesOf(
      figures,
      (figure) => latest[`${run.group("weights", figure)}/${path}`],
    ),
  }));
  const total = {
    key: null,
    path: "Whole model",
    ...valuesOf(figures, (figure) => latest[`kreg/${figure}`]),
  };
  const columns = [
    nameColumn("Weight", run.paths),
    {
      key: "shape", // its size, to sort by
      label: "Shape",
      kind: "text",
      cell: ({ shapeText }) => [shapeText ?? "–"],
    },
    { key: "regularizer", label: "Regularizer", kind: "text" },
    {
      key: "strength",
      label: "Strength",
      title: meaning("strength"),
      kind: "number",
      cell: strengthCell,
    },
    ...figureColumns(figures),
  ];
  return { columns: withContent(columns, rows), rows, total };
}

function tableOfRuns(runs, latest) {
  const figures = inOrder(new Set(runs.flatMap((run) => run.figures("model"))));
  const rows = runs.map((run, index) => ({
    key: run.name,
    path: run.name,
    style: style(index),
    step: run.step,
    ...valuesOf(figures, (figure) => latest[run.name]?.[`kreg/${figure}`]),
  }));
  const columns = [
    nameColumn("Run", runs.map(({ name }) => name)),
    { key: "step", label: "Step", kind: "number" },
    ...figureColumns(figures),
  ];
  return { columns, rows, total: null };
}

function nameColumn(label, names) {
  const start = commonStart(names);
  return {
    key: "path",
    label,
    title: start && `Names are in ${start}`,
    kind: "text",
    cell: ({ path, style }) => {
      const name = path.startsWith(start) ? path.slice(start.length) : path;
      return [
        style ? swatch(style) : null,
        element("span", { title: path }, shorten(name, NAME_LENGTH)),
      ];
    },
  };
}

function figureColumns(figures) {
  const first = FIRST.filter((figure) => figures.includes(figure));
  const rest = inOrder(figures).filter((figure) => !FIRST.includes(figure));
  return [...first, ...rest].map((figure) => ({
    key: figure,
    label: title(figure),
    title: meaning(figure),
    kind: kind(figure),
    bar: figure === "sparsity",
  }));
}

function described(weight) {
  if (!weight) return {};
  const shape = Array.isArray(weight.shape) ? weight.shape : null;
  return {
    shape: shape?.reduce((size, length) => size * length, 1),
    shapeText: shape && (shape.length ? shape.join(" × ") : "scalar"),
    regularizer: typeof weight.regularizer === "string" ? weight.regularizer : null,
  };
}

function strengthsOf(run, latest) {
  const strengths = new Map();
  for (const { tag, path, part } of run.tags("weights", "strength")) {
    if (!(tag in latest)) continue;
    const value = latest[tag].values.at(-1);
    strengths.set(path, [...(strengths.get(path) ?? []), { part, value }]);
  }
  return strengths;
}

function strengthCell({ strengths }) {
  if (!strengths?.length) return ["–"];
  return strengths.map(({ part, value }) =>
    element(
      "span",
      {
        class: "strength",
        "data-part": part,
        "data-value": value,
        title: formatFully(value),
      },
      part ? element("span", { class: "part" }, part) : null,
      formatValue(value, "number"),
    ),
  );
}

function valuesOf(figures, seriesOf) {
  return Object.fromEntries(
    figures.map((figure) => [figure, seriesOf(figure)?.values.at(-1)]),
  );
}

function withContent(columns, rows) {
  return columns.filter(
    ({ key }) => key === "path" || rows.some((row) => row[key] != null),
  );
}
