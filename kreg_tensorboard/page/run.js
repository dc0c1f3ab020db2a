// A run: which figures it has, of which weights and layers, under which tags.

const WEIGHT = "kreg_";
const LAYER = "kreg_layer_";

export class Run {
  #known;

  constructor({ run, weights, groups, step, time }) {
    this.name = run;
    this.weights = weights;
    this.groups = groups;
    this.step = step;
    this.time = time;
    this.paths = this.#weightPaths();
    this.#known = new Set(this.paths);
    this.layers = this.#layerPaths();
  }

  figures(scope) {
    if (scope === "model") return this.groups.kreg ?? [];
    const prefix = scope === "layers" ? LAYER : WEIGHT;
    return Object.keys(this.groups)
      .filter((group) => group.startsWith(prefix))
      .filter((group) => scope === "layers" || !group.startsWith(LAYER))
      .map((group) => group.slice(prefix.length));
  }

  group(scope, figure) {
    return (scope === "layers" ? LAYER : WEIGHT) + figure;
  }

  // The tags of a figure: {tag, path, part}. Only a strength has parts, one
  // for each strength of a penalty that has several.
  tags(scope, figure) {
    const group = this.group(scope, figure);
    return (this.groups[group] ?? []).map((name) => {
      const tag = `${group}/${name}`;
      const cut = name.lastIndexOf("/");
      const whole = name.slice(0, cut);
      const isPart =
        figure === "strength" &&
        !this.#known.has(name) &&
        this.#known.has(whole);
      return isPart
        ? { tag, path: whole, part: name.slice(cut + 1) }
        : { tag, path: name, part: null };
    });
  }

  // As the marker lists them, which is the model's order; then what else has
  // figures.
  #weightPaths() {
    const paths = new Set(this.weights.map(({ path }) => path));
    const figures = this.figures("weights");
    for (const figure of figures.filter((name) => name !== "strength")) {
      for (const path of this.groups[WEIGHT + figure]) paths.add(path);
    }
    for (const path of this.groups[`${WEIGHT}strength`] ?? []) {
      if (!paths.has(path.slice(0, path.lastIndexOf("/")))) paths.add(path);
    }
    return [...paths];
  }

  #layerPaths() {
    const layers = new Set();
    for (const { path, layer } of this.weights) {
      layers.add(layer ?? path.slice(0, path.lastIndexOf("/")));
    }
    for (const figure of this.figures("layers")) {
      for (const layer of this.groups[LAYER + figure]) layers.add(layer);
    }
    return [...layers];
  }
}
