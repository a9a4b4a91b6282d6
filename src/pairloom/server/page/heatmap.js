// The full matrix of weights as a table: rows are tokens written, columns tokens read.

import { byId, el, shade } from "/page/dom.js";
import { t } from "/page/i18n.js";
import { labelled, named, rest, show } from "/page/tokens.js";

const MOST_CELLS = 20_000;
let table = null;

/** Draws the table for tokens {source, target} of units {source, target} and weights [T][S]. */
export function showMap(tokens, units, weights) {
  const count = tokens.target.length * tokens.source.length;
  byId("map-note").hidden = count > MOST_CELLS;
  if (count > MOST_CELLS) {
    table = null;
    byId("map").textContent = t("map_large", { t: tokens.target.length, s: tokens.source.length });
    return;
  }
  const top = Math.max(...weights.flat(), 0.01);
  const head = tokens.source.map((token) => el("th", { scope: "col" }, el("span", {}, labelled(token, units.source))));
  const rows = weights.map((row, index) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, labelled(tokens.target[index], units.target)),
      ...row.map((share) => el("td", { class: shade(share, top) }, share < 0.01 ? "" : String(Math.round(100 * share)))),
    ),
  );
  const tall = tokens.source.some((token) => [...named(token, units.source).text].length > 3);
  table = el(
    "table",
    { class: `weights${count > 260 ? " large" : ""}${tall ? " tall" : ""}` },
    el("caption", { class: "hidden" }, t("map_caption")),
    el("thead", {}, el("tr", {}, el("td"), ...head)),
    el("tbody", {}, ...rows),
  );
  table.addEventListener("mouseover", (event) => {
    const cell = event.target.closest("tbody td");
    if (cell) show({ side: "target", index: cell.parentElement.rowIndex - 1 });
  });
  table.addEventListener("mouseleave", rest);
  byId("map").replaceChildren(table);
}

/** Marks the row or column of a token; null: of none. */
export function markMap(token) {
  if (!table) return;
  for (const marked of table.querySelectorAll(".chosen")) marked.classList.remove("chosen");
  if (!token) return;
  if (token.side === "target") table.tBodies[0].rows[token.index].classList.add("chosen");
  else for (const row of table.rows) row.cells[token.index + 1].classList.add("chosen");
}
