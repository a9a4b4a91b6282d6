// The beam as a tree: a column for each step, what was alive in it, who continues whom, and why the winner won.

import { byId, el, isolated, svg } from "/page/dom.js";
import { decimals, pieces, t } from "/page/i18n.js";
import { named } from "/page/tokens.js";

const [COLUMN, ROW, WIDE, HIGH, TOP, LEFT] = [134, 34, 110, 26, 34, 40];
let shown = null; // { beam, unit, nodes, edges, sizes }

/** Draws the tree and the table of `beam`, or says why there is none. `unit` is that of the target. */
export function showBeam(beam, unit) {
  shown = beam && { beam, unit };
  const lead = !beam ? "beam_none" : beam.width === 1 ? "beam_one" : "beam_lead";
  byId("beam-lead").textContent = t(lead, { k: beam?.width });
  for (const id of ["tree", "endings", "why", "branch"]) byId(id).replaceChildren();
  for (const element of byId("beam").querySelectorAll("h3, .scroll, .note, .switch")) element.hidden = !beam;
  if (!beam) return;
  byId("beam").querySelector(".note").textContent = t("score_note", { alpha: decimals(beam.alpha, 1) });
  byId("why").replaceChildren(...reasons().map((reason) => el("p", {}, ...reason)));
  drawEndings();
  drawTree();
  light(null);
}

byId("dropped").addEventListener("change", () => shown && drawTree());
byId("tree").addEventListener("scroll", fit);
new ResizeObserver(fit).observe(byId("tree"));

/** The text of an alternative: all tokens on its way. */
function textOf(step, place) {
  const tokens = wayOf(step, place).map((index, n) => shown.beam.steps[n][index].token);
  const text = tokens.map((token) => {
    const { text: word, starts, end } = named(token, shown.unit);
    return end ? "" : (starts && token.startsWith("␣") && token.length > 1 ? " " : "") + word;
  });
  return text.join("").trim() || t("end");
}

/** Its places from the first step on. */
function wayOf(step, place) {
  const way = [];
  for (let n = step, index = place; n >= 0; n -= 1) {
    way.unshift(index);
    index = shown.beam.steps[n][index].parent;
  }
  return way;
}

// -- why the winner won ------------------------------------------------------------------------------------------------

function reasons() {
  const { endings, steps, reason, bound, width } = shown.beam;
  const [winner, ...rest] = endings;
  if (!winner) return [];
  const quoted = (ending) => el("q", { dir: "auto" }, ending.text || t("end"));
  const numbers = ({ score, penalty, normalised }) => ({
    score: decimals(score),
    penalty: decimals(penalty),
    final: decimals(normalised),
  });
  const finished = endings.filter((ending) => ending.finished);
  const found = [];
  if (!rest.length) found.push(pieces("why_only", { text: quoted(winner) }));
  else found.push(pieces("why_won", { text: quoted(winner), n: finished.length || endings.length, ...numbers(winner) }));
  const likelier = rest.find((ending) => ending.finished && ending.score > winner.score);
  if (likelier) found.push(pieces("why_shorter", { text: quoted(likelier), ...numbers(likelier) }));
  if (width > 1) {
    const ranks = winner.path.map((place, n) => steps[n].slice(0, place).filter((one) => one.fate !== "dropped").length + 1);
    const behind = ranks.findIndex((rank) => rank > 1);
    if (behind < 0) found.push([t("why_ahead")]);
    else found.push([t("why_behind", { n: behind + 1, place: ranks[behind] }), " ", ...greedy(winner.path)]);
    const ended = { enough: "why_enough", "out of reach": "why_reach", limit: "why_limit" }[reason];
    found.push(pieces(ended, { n: finished.length, bound: bound === null ? "" : decimals(bound) }));
  }
  return found.map((parts) => parts.map((part) => (part instanceof Node ? part : String(part))));
}

/** What greedy search would have made of the winner's way: it takes the best continuation of its only hypothesis. */
function greedy(path) {
  const better = path.map((place, n) => shown.beam.steps[n].findIndex((one) => one.parent === shown.beam.steps[n][place].parent));
  const lost = path.findIndex((place, n) => better[n] < place);
  if (lost < 0) return [t("why_greedy_found")];
  return pieces("why_greedy_lost", { n: lost + 1, token: el("q", {}, named(shown.beam.steps[lost][better[lost]].token, shown.unit).text) });
}

// -- what was found ----------------------------------------------------------------------------------------------------

function drawEndings() {
  const head = ["rank", "text", "logp", "tokens", "penalty", "final"].map((word) => el("th", { scope: "col" }, t(word)));
  const rows = shown.beam.endings.map((ending, index) =>
    el(
      "tr",
      {
        class: index ? "" : "winner",
        onmouseenter: () => light(ending.path),
        onmouseleave: () => light(null),
      },
      el("td", {}, String(index + 1)),
      el("td", { class: "text", dir: "auto" }, isolated(ending.text || t("end")), ending.finished ? "" : ` (${t("cut_mark")})`),
      ...[decimals(ending.score), String(ending.tokens), decimals(ending.penalty), decimals(ending.normalised)].map((value) =>
        el("td", { class: "number" }, value),
      ),
    ),
  );
  byId("endings").replaceChildren(
    el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)),
  );
}

// -- the tree ----------------------------------------------------------------------------------------------------------

function drawTree() {
  const { beam } = shown;
  const all = byId("dropped").checked;
  const winning = new Set((beam.endings[0]?.path ?? []).map((place, step) => `${step}.${place}`));
  const rows = beam.steps.map((step) => step.map((one, place) => ({ ...one, place })).filter((one) => all || one.fate !== "dropped"));
  const row = rows.map((step) => new Map(step.map((one, at) => [one.place, at])));
  const y = (step, place) => TOP + row[step].get(place) * ROW + HIGH / 2;
  const x = (step) => LEFT + step * COLUMN;
  shown.nodes = new Map();
  shown.edges = new Map();
  const edges = [];
  const nodes = [];
  rows.forEach((step, n) => {
    nodes.push(svg("text", { class: "step", x: x(n) + WIDE / 2, y: 16 }, t("tree_step", { n: n + 1 })));
    for (const one of step) {
      const key = `${n}.${one.place}`;
      const [x1, y1] = one.parent === null ? [14, TOP + HIGH / 2] : [x(n - 1) + WIDE, y(n - 1, one.parent)];
      const [x2, y2] = [x(n), y(n, one.place)];
      const bend = (x1 + x2) / 2;
      const kind = `${one.fate}${winning.has(key) ? " winner" : ""}`;
      const edge = svg("path", { class: `edge ${kind}`, d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` });
      edges.push(edge);
      shown.edges.set(key, edge);
      nodes.push(node(n, one, x(n), y2, kind));
    }
  });
  const width = x(rows.length) + 10;
  edges.sort((a, b) => a.classList.contains("winner") - b.classList.contains("winner"));
  const start = svg("circle", { class: "start", cx: 9, cy: TOP + HIGH / 2, r: 5 });
  const picture = svg("svg", { width, role: "group", "aria-label": t("tree") });
  picture.append(start, ...edges, ...nodes);
  byId("tree").replaceChildren(picture);
  shown.sizes = rows.map((step) => step.length);
  fit();
  const first = shown.nodes.get(`0.${beam.endings[0]?.path[0] ?? 0}`);
  first?.setAttribute("tabindex", "0");
}

/** As high as the steps in sight need it, and those before them: the last ones, with all that ended, are the highest. */
function fit() {
  const picture = byId("tree").querySelector("svg");
  if (!picture) return;
  const { scrollLeft, clientWidth } = byId("tree");
  const sizes = shown.sizes.filter((_, step) => LEFT + step * COLUMN < scrollLeft + clientWidth);
  picture.setAttribute("height", TOP + Math.max(1, ...sizes) * ROW + 8);
}

function node(step, one, x, y, kind) {
  const { text, end } = named(one.token, shown.unit);
  const letters = [...text];
  const label = letters.length > 9 ? `${letters.slice(0, 8).join("")}…` : text;
  const element = svg(
    "g",
    {
      class: `node ${kind}${end ? " end" : ""}`,
      tabindex: "-1",
      role: "img",
      "aria-label": told(step, one),
      onmouseenter: () => point(step, one),
      onmouseleave: () => light(null),
      onfocus: () => point(step, one),
      onblur: () => light(null),
      onkeydown: (event) => onKey(event, step, one.place),
    },
    svg("rect", { x, y: y - HIGH / 2, width: WIDE, height: HIGH, rx: 7 }),
    svg("text", { class: "label", x: x + 9, y: y + 4.5 }, label),
    svg("text", { class: "value", x: x + WIDE - 8, y: y + 4 }, decimals(one.score, 1)),
  );
  shown.nodes.set(`${step}.${one.place}`, element);
  return element;
}

function told(step, one) {
  const numbers = { score: decimals(one.score), final: decimals(one.normalised), fate: t(`fate_${one.fate}`) };
  return t("branch", { n: step + 1, text: textOf(step, one.place), ...numbers });
}

function point(step, one) {
  byId("branch").textContent = told(step, one);
  light(wayOf(step, one.place));
}

/** Lights up a way through the tree; null: none. */
function light(way) {
  const lit = new Set((way ?? []).map((place, step) => `${step}.${place}`));
  for (const parts of [shown.nodes, shown.edges]) {
    for (const [key, element] of parts) element.classList.toggle("lit", lit.has(key));
  }
  if (!way) byId("branch").textContent = t("branch_hint");
}

/** Left to what it continues, right to what continues it, up and down within the step. */
function onKey(event, step, place) {
  const here = shown.nodes.get(`${step}.${place}`);
  const inStep = [...shown.nodes.keys()].filter((key) => key.startsWith(`${step}.`));
  const at = inStep.indexOf(`${step}.${place}`);
  const children = (shown.beam.steps[step + 1] ?? []).map((one, index) => (one.parent === place ? index : -1));
  const child = children.find((index) => index >= 0 && shown.nodes.has(`${step + 1}.${index}`));
  const key = {
    ArrowLeft: `${step - 1}.${shown.beam.steps[step][place].parent}`,
    ArrowRight: `${step + 1}.${child}`,
    ArrowUp: inStep[at - 1],
    ArrowDown: inStep[at + 1],
  }[event.key];
  if (!event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const next = shown.nodes.get(key);
  if (!next) return;
  here.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}
