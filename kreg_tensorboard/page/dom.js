// Elements of the page. Text from logs only ever becomes a text node or the
// value of an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

export function button(label, attributes, onClick) {
  const node = element("button", { type: "button", ...attributes }, label);
  node.addEventListener("click", onClick);
  return node;
}

// A labelled select; `options` are pairs of value and label.
export function select(label, name, onChange) {
  const node = element("select", { "data-control": name });
  node.addEventListener("change", () => onChange(node.value));
  const whole = element("label", { class: "field" }, label, node);
  return {
    node: whole,
    update(options, value) {
      const wanted = JSON.stringify(options);
      if (node.dataset.options !== wanted) {
        node.dataset.options = wanted;
        node.replaceChildren(
          ...options.map(([key, text]) => element("option", { value: key }, text)),
        );
      }
      node.value = value;
    },
  };
}
