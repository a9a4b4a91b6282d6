// Pictures of vectors: the encoder's states as rows of coloured cells with their weights, and as points of a plane.

import { el, svg } from "/page/dom.js";
import { percent, t } from "/page/i18n.js";
import { labelled, named } from "/page/tokens.js";

/** The mean of rows by weights that add up to 1. */
export const mean = (rows, weights) => rows[0].map((_, at) => rows.reduce((sum, row, s) => sum + weights[s] * row[at], 0));

/** A row of cells: blue for positive, red for negative numbers, as strong as they are large. */
function strip(values, largest) {
  const cells = values.map((value, at) =>
    svg("rect", {
      x: at,
      width: 0.92,
      height: 1,
      class: value < 0 ? "minus" : "plus",
      "fill-opacity": Math.min(1, Math.abs(value) / largest) ** 0.8,
    }),
  );
  const options = { class: "strip", viewBox: `0 0 ${values.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true" };
  return svg("svg", options, ...cells);
}

/** A table with a row for each source token: its state, and its weight at this step; at the end the context vector. */
export function stateRows(states, tokens, unit, weights) {
  const largest = Math.max(...states.values.flat().map(Math.abs), 1e-9);
  if (!states.places) return el("div", { class: "one-state" }, strip(states.values[0], largest));
  const rows = states.values.map((values, s) =>
    el(
      "tr",
      { style: { "--share": String(0.3 + 0.7 * Math.min(1, weights[s] / Math.max(...weights))) } },
      el("th", { scope: "row" }, labelled(tokens[s], unit)),
      el("td", { class: "cells" }, strip(values, largest)),
      el("td", { class: "weight" }, weights[s] < 0.005 ? null : el("span", { class: "meter", style: { "--part": String(weights[s]) } }), number(weights[s])),
    ),
  );
  const context = el(
    "tr",
    { class: "context" },
    el("th", { scope: "row" }, t("context")),
    el("td", { class: "cells" }, strip(mean(states.values, weights), largest)),
    el("td", {}),
  );
  return el("table", { class: "states" }, el("tbody", {}, ...rows), el("tfoot", {}, context));
}

const number = (share) => el("span", { class: "number" }, share < 0.005 ? "" : percent(share));

const [WIDE, HIGH, EDGE] = [420, 230, 34];
const MOST_NAMES = 16; // with more points only those that matter now are named

/** The states as points; the context vector of this step pulled to them by its weights, those before as a trail. */
export function plane(states, tokens, unit, weights, before) {
  const xs = states.places.map(([x]) => x);
  const ys = states.places.map(([, y]) => y);
  const scale = (values, size) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => EDGE + ((value - low) / Math.max(high - low, 1e-9)) * (size - 2 * EDGE);
  };
  const [toX, toY] = [scale(xs, WIDE), scale(ys, HIGH)];
  const at = ([x, y]) => [toX(x), HIGH - toY(y)];
  const places = states.places.map(at);
  const [cx, cy] = at(mean(states.places, weights));
  const label = (s) => named(tokens[s], unit).text;
  const said = (s) => tokens.length <= MOST_NAMES || weights[s] >= 0.05;
  const trail = before.map((earlier) => at(mean(states.places, earlier)));
  return svg(
    "svg",
    { class: "plane", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": t("plane") },
    svg("polyline", { class: "trail", points: [...trail, [cx, cy]].map((place) => place.join(",")).join(" ") }),
    ...places.map(([x, y], s) =>
      svg("line", { class: "pull", x1: cx, y1: cy, x2: x, y2: y, "stroke-width": 7 * weights[s], "stroke-opacity": 0.75 }),
    ),
    ...places.map(([x, y], s) => svg("circle", { class: "state", cx: x, cy: y, r: 3.5 }, svg("title", {}, label(s)))),
    ...places.map(([x, y], s) => (said(s) ? svg("text", { x, y: y - 8 }, label(s)) : null)),
    svg("circle", { class: "context", cx, cy, r: 7 }),
  );
}
