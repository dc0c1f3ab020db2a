// What is chosen on the page: {view, run, figure, subject, log}.

import { figuresOf, subjects, VIEWS, WHOLE_MODEL } from "./views.js";

const KEY = "kreg";
const START = {
  view: "weights",
  run: null, // the one that was written to last
  figure: "sparsity",
  subject: WHOLE_MODEL, // of a comparison
  log: false,
};

// It outlives a reload of the page, where the browser lets it.
export function remembered() {
  try {
    return { ...START, ...JSON.parse(sessionStorage.getItem(KEY)) };
  } catch {
    return { ...START };
  }
}

export function remember(state) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    // it is only for convenience
  }
}

// The views that the runs have something for.
export function viewsFor(runs, run) {
  const has = {
    weights: true,
    layers: run.figures("layers").length > 0,
    model: run.figures("model").length > 0,
    compare: runs.length > 1,
  };
  return Object.keys(VIEWS).filter((view) => has[view]);
}

// Makes the state one that the runs allow, and returns its run.
export function settle(state, runs) {
  const run =
    runs.find(({ name }) => name === state.run) ??
    runs.reduce((a, b) => (b.time > a.time ? b : a));
  state.run = run.name;
  if (!viewsFor(runs, run).includes(state.view)) state.view = START.view;
  if (!subjects(runs).includes(state.subject)) state.subject = WHOLE_MODEL;
  const figures = figuresOf(runs, run, state);
  if (state.view !== "model" && !figures.includes(state.figure)) {
    state.figure = figures[0] ?? START.figure;
  }
  return run;
}
