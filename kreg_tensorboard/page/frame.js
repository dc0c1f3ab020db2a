// What TensorBoard does with the frame of this page. TensorBoard's own page is
// its parent: the class `dark-mode` on its body is its dark mode, and it hides
// the frame of a tab that is not open.

const preference = matchMedia("(prefers-color-scheme: dark)");

// Dark as TensorBoard is; without it, as the browser prefers.
export function followTheme() {
  const body = parentBody();
  const apply = () => {
    const dark = body
      ? body.classList.contains("dark-mode")
      : preference.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  apply();
  preference.addEventListener("change", apply);
  if (body) {
    new MutationObserver(apply).observe(body, {
      attributes: true,
      attributeFilter: ["class"],
    });
  }
}

export function isShown() {
  if (document.hidden) return false;
  const frame = parentBody() && window.frameElement;
  return !frame || getComputedStyle(frame).visibility !== "hidden";
}

function parentBody() {
  try {
    return window.parent === window ? null : window.parent.document.body;
  } catch {
    return null; // of another origin
  }
}
