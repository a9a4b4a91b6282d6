// Elements without a framework. Text is always set as text, never as HTML: no token can bring a script.

export const byId = (id) => document.getElementById(id);

/** An HTML element: el("p", {class: "note", onclick: f, data: {n: 1}}, "text", child). */
export function el(name, properties = {}, ...children) {
  return dress(document.createElement(name), properties, children);
}

/** The same for SVG. */
export function svg(name, properties = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", name), properties, children);
}

function dress(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** One of ten shades for a share of the largest weight. */
export const shade = (share, top = 1) => (share < 0.01 ? "" : `l${Math.min(10, Math.ceil((10 * share) / top))}`);

/** Text in its own direction, wherever it stands. */
export const isolated = (text) => el("bdi", {}, text);
