// The only place that makes elements: text from data goes through textContent, so no name can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** h("a.tile", {href: "/"}, "text", child): null and false children are left out. */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawing from the page's sprite; hidden from screen readers, which read the word beside it. */
export function drawing(id, className = "glyph") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

export const shape = (level) => drawing(`shape-${level}`, "shape");

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Remembered on this machine only; a browser that forbids storage just forgets. */
export function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* private window */ }
}
