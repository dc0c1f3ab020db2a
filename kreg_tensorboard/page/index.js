// The entry point that TensorBoard calls.

import { element } from "./dom.js";
import { followTheme } from "./frame.js";
import { Page } from "./page.js";

export async function render() {
  document.documentElement.lang = "en";
  document.title = "kreg";
  followTheme();
  const style = element("link", { rel: "stylesheet", href: "style.css" });
  const loaded = new Promise((resolve) => {
    style.onload = style.onerror = resolve;
  });
  document.head.append(style);
  await loaded;
  await new Page(document.body).start();
}
