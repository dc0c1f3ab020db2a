// The table of the latest reading, sorted by a click on a heading.

import { button, element } from "./dom.js";
import { formatFully, formatValue } from "./format.js";

export class Table {
  constructor(on) {
    this.on = on; // {highlight(key)}
    this.sort = { column: null, descending: false };
    this.title = element("h2");
    this.head = element("tr");
    this.body = element("tbody");
    this.foot = element("tfoot");
    this.node = element(
      "section",
      { class: "card", hidden: true },
      element("header", {}, this.title),
      element(
        "div",
        { class: "scroll", tabindex: 0, role: "group", "aria-label": "Readings" },
        element(
          "table",
          { class: "readings", "data-table": true },
          element("thead", {}, this.head),
          this.body,
          this.foot,
        ),
      ),
    );
  }

  // `columns` are {key, label, title, kind, bar, cell}; a row has a key and a
  // value for each column, where `cell(row)` makes what is not a number.
  update(title, { columns, rows, total }) {
    this.node.hidden = false;
    this.title.textContent = title;
    this.columns = columns;
    this.rows = rows;
    const wanted = JSON.stringify(columns);
    if (this.wanted !== wanted) {
      this.wanted = wanted;
      this.head.replaceChildren(
        ...columns.map((column) => this.#heading(column)),
      );
    }
    this.#fill();
    this.foot.replaceChildren(...(total ? [this.#row(total)] : []));
  }

  highlight(key) {
    for (const row of this.body.rows) {
      row.classList.toggle("strong", row.dataset.key === key);
    }
  }

  #fill() {
    const { column, descending } = this.sort;
    const rows = [...this.rows];
    if (column !== null) rows.sort(by(column, descending));
    this.body.replaceChildren(...rows.map((row) => this.#row(row)));
    for (const heading of this.head.children) {
      const sorting = heading.dataset.column === column;
      const order = descending ? "descending" : "ascending";
      heading.setAttribute("aria-sort", sorting ? order : "none");
    }
  }

  #heading({ key, label, title, kind }) {
    const sort = () => {
      const again = this.sort.column === key;
      const descending = again ? !this.sort.descending : kind !== "text";
      this.sort = { column: key, descending };
      this.#fill();
    };
    return element(
      "th",
      { scope: "col", "data-column": key, class: kind, "aria-sort": "none" },
      button(label, { title }, sort),
    );
  }

  #row(row) {
    const node = element(
      "tr",
      { "data-key": row.key },
      ...this.columns.map((column) => cell(column, row)),
    );
    node.addEventListener("pointerenter", () => this.on.highlight(row.key));
    node.addEventListener("pointerleave", () => this.on.highlight(null));
    return node;
  }
}

function cell({ key, kind, cell: make, bar }, row) {
  const value = row[key];
  const attributes = { class: kind, "data-column": key };
  if (make) return element("td", attributes, ...make(row));
  if (typeof value !== "number") {
    return element("td", attributes, value ?? "–");
  }
  const text = formatValue(value, kind);
  return element(
    "td",
    { ...attributes, "data-value": value, title: formatFully(value) },
    bar && Number.isFinite(value) ? barOf(value) : null,
    bar ? element("span", { class: "number-text" }, text) : text,
  );
}

function barOf(fraction) {
  const inner = element("span");
  inner.style.width = `${Math.min(1, Math.max(0, fraction)) * 100}%`;
  return element(
    "span",
    { class: "fraction-bar", "aria-hidden": "true" },
    inner,
  );
}

// Rows without a number come last either way.
function by(column, descending) {
  const sign = descending ? -1 : 1;
  const missing = (value) => value == null || Number.isNaN(value);
  return ({ [column]: a }, { [column]: b }) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    if (typeof a === "string") {
      return sign * a.localeCompare(b, "en", { numeric: true });
    }
    return sign * (a - b);
  };
}
