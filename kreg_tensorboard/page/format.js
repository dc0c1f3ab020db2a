// Numbers and names as the page writes them.

export function formatValue(value, kind) {
  if (value === undefined) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return kind === "fraction" ? percent(value) : number(value);
}

// All the digits that a log keeps of a value: it is in single precision.
export function formatFully(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(8))) : String(value);
}

export function formatStep(step) {
  return step.toLocaleString("en");
}

// Short labels of an axis whose ticks lie `gap` apart.
export function formatTick(value, kind, gap) {
  if (value === 0 && kind !== "fraction") return "0";
  if (kind === "fraction") {
    const digits = Math.max(0, Math.ceil(-Math.log10(gap * 100) - 1e-9));
    return `${(value * 100).toFixed(Math.min(digits, 6))}%`;
  }
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3 || (gap < 1e-3 && size < 1e-2)) {
    return exponential(value);
  }
  const digits = Math.max(0, Math.ceil(-Math.log10(gap) - 1e-9));
  return value.toLocaleString("en", {
    minimumFractionDigits: Math.min(digits, 6),
    maximumFractionDigits: Math.min(digits, 6),
  });
}

// The parts that all paths begin with; two parts stay of each.
export function commonStart(paths) {
  const parts = paths.map((path) => path.split("/"));
  let shared = 0;
  while (
    parts.length &&
    parts.every((one) => one.length > shared + 2 && one[shared] === parts[0][shared])
  ) {
    shared += 1;
  }
  return (parts[0] ?? []).slice(0, shared).map((part) => `${part}/`).join("");
}

// A path of at most `limit` characters. The longest part loses its middle
// first, so that the numbers at the ends of parts stay to be told apart by.
export function shorten(path, limit) {
  const parts = path.split("/").map((text) => ({ text, kept: text.length }));
  let excess = path.length - limit;
  while (excess > 0) {
    const longest = parts.reduce((a, b) => (b.kept > a.kept ? b : a));
    if (longest.kept <= 5) break;
    excess -= 1;
    longest.kept -= 1;
  }
  return parts.map(({ text, kept }) => withoutMiddle(text, kept)).join("/");
}

function withoutMiddle(text, kept) {
  if (kept >= text.length) return text;
  const end = Math.floor(kept / 2);
  return `${text.slice(0, kept - end - 1)}…${text.slice(text.length - end)}`;
}

function percent(value) {
  for (const digits of [2, 3, 4]) {
    const text = (value * 100).toFixed(digits);
    if (value === 0 || value === 1 || ![0, 100].includes(Number(text))) {
      return `${text}%`;
    }
  }
  return `${(value * 100).toPrecision(value < 0.5 ? 3 : 8)}%`;
}

function number(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return value.toLocaleString("en");
  if (size >= 1e6 || size < 1e-3) return exponential(value);
  return Number(value.toPrecision(4)).toLocaleString("en", {
    maximumFractionDigits: 7,
  });
}

function exponential(value) {
  return Number(value.toPrecision(4)).toExponential().replace("e+", "e");
}
