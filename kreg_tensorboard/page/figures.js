// What each figure is called and means. `kind` is how its values are written.

const FIGURES = {
  sparsity: ["Sparsity", "fraction", "Fraction of weights that are exactly 0."],
  near_zero: [
    "Near zero",
    "fraction",
    "Fraction of weights within a threshold of 0, zeros included.",
  ],
  strength: [
    "Strength",
    "number",
    "Lambda: what the penalty is multiplied by.",
  ],
  penalty: ["Penalty", "number", "What regularization adds to the loss."],
  penalty_share: [
    "Penalty share",
    "fraction",
    "The penalty as a fraction of the whole loss.",
  ],
  data_loss: ["Data loss", "number", "The loss without penalties."],
  generalization_gap: [
    "Generalization gap",
    "number",
    "Validation data loss minus training data loss.",
  ],
  l1_norm: ["L1 norm", "number", "Sum of absolute values."],
  l2_norm: ["L2 norm", "number", "Square root of the sum of squares."],
  rms: ["RMS", "number", "Root mean square of the weights."],
  max_norm: ["Max norm", "number", "Largest absolute value."],
  dead_units: [
    "Dead units",
    "number",
    "Output channels whose incoming weights are all 0.",
  ],
  dead_inputs: [
    "Dead inputs",
    "number",
    "Input channels whose outgoing weights are all 0.",
  ],
  gradient_norm: [
    "Gradient norm",
    "number",
    "L2 norm of the gradient of the data loss.",
  ],
  update_ratio: [
    "Update ratio",
    "number",
    "L2 norm of the last update over that of the weights.",
  ],
  optimality: [
    "Optimality",
    "number",
    "How far from a minimum of loss plus penalty, where it is 0.",
  ],
};

const ORDER = Object.keys(FIGURES);

export function title(figure) {
  return FIGURES[figure]?.[0] ?? figure.replaceAll("_", " ");
}

export function kind(figure) {
  return FIGURES[figure]?.[1] ?? "number";
}

export function meaning(figure) {
  return FIGURES[figure]?.[2] ?? "";
}

// Figures in the order above, unknown ones last.
export function inOrder(figures) {
  const rank = (figure) => {
    const index = ORDER.indexOf(figure);
    return index < 0 ? ORDER.length : index;
  };
  return [...figures].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}
