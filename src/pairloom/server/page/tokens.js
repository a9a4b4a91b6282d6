// Two rows of tokens with threads between them: what each token written looks at, and what looks at each token read.

import { byId, el, isolated, shade, svg } from "/page/dom.js";
import { percent, pieces, t } from "/page/i18n.js";

const LEAST = 0.01; // weights below are not shown
const WOVEN = 0.25; // the threads of all tokens, while none is chosen
const MARKED = new Set(["bpe", "unigram", "word"]); // units whose tokens begin a word with ␣

/** A token as a word: without its mark, the end by its name. `starts`: it begins a word. */
export function named(token, unit) {
  if (token === "</s>") return { text: t("end"), end: true, starts: true };
  const marked = MARKED.has(unit) && token.startsWith("␣") && token.length > 1;
  return { text: marked ? token.slice(1) : token, end: false, starts: marked || !MARKED.has(unit) };
}

/** A token for a sentence or a table. */
export function labelled(token, unit) {
  const { text, end } = named(token, unit);
  return end ? el("i", { title: t("end_title") }, text) : isolated(text);
}

let view = null; // { tokens: {source, target}, units, weights [T][S], top }
const buttons = { source: [], target: [] };
let kept = null; // the token that a click holds
let pointed = null; // the one that is shown
let onShow = () => {}; // told of each token that is shown or let go

const other = (side) => (side === "target" ? "source" : "target");
const weight = (side, index, mate) => (side === "target" ? view.weights[index][mate] : view.weights[mate][index]);

/** Draws both rows. `weights` may change later by `reweigh`. */
export function showTokens(tokens, units, weights, shown) {
  kept = pointed = null;
  onShow = shown;
  view = { tokens, units };
  for (const side of ["source", "target"]) {
    buttons[side] = tokens[side].map((token, index) => tokenButton(side, index, token, units[side]));
    byId(`loom-${side}`).replaceChildren(...buttons[side]);
  }
  reweigh(weights);
}

/** Other weights for the same tokens. */
export function reweigh(weights) {
  view.weights = weights;
  view.top = Math.max(...weights.flat(), 0.01);
  rest();
}

function tokenButton(side, index, token, unit) {
  const { text, end, starts } = named(token, unit);
  const kind = `token${starts ? " starts" : ""}${end ? " end" : ""}`;
  return el(
    "button",
    {
      type: "button",
      class: kind,
      tabindex: index ? -1 : 0,
      "aria-pressed": "false",
      title: end ? t("end_title") : null,
      onmouseenter: () => show({ side, index }),
      onmouseleave: rest,
      onfocus: () => show({ side, index }),
      onblur: rest,
      onclick: () => keep({ side, index }),
      onkeydown: (event) => onKey(event, side, index),
    },
    el("span", { class: "piece" }, text),
    el("span", { class: "share", "aria-hidden": "true" }),
  );
}

/** Lights up one token and its mates. */
export function show({ side, index }) {
  clear();
  pointed = { side, index };
  const chosen = buttons[side][index];
  chosen.classList.add("chosen");
  const mates = view.tokens[other(side)].map((_, mate) => ({ mate, share: weight(side, index, mate) }));
  const seen = mates.filter(({ share }) => share >= LEAST).sort((a, b) => b.share - a.share);
  for (const { mate, share } of seen) {
    const button = buttons[other(side)][mate];
    button.classList.add("lit", shade(share, view.top));
    button.lastElementChild.textContent = percent(share);
  }
  weave(seen.map(({ mate, share }) => (side === "target" ? [index, mate, share] : [mate, index, share])));
  tell(side, index, seen.slice(0, 5));
  onShow({ side, index });
}

function tell(side, index, seen) {
  const label = (which, at) => labelled(view.tokens[which][at], view.units[which]);
  const list = seen.flatMap(({ mate, share }, place) => [
    place ? ", " : "",
    label(other(side), mate),
    ` (${percent(share)})`,
  ]);
  const words = !seen.length ? "attends_nothing" : side === "target" ? "attends" : "attended";
  byId("detail").replaceChildren(...pieces(words, { token: label(side, index), list: list }).flat());
}

function clear() {
  for (const button of [...buttons.source, ...buttons.target]) {
    button.classList.remove("chosen", "lit", ...Array.from({ length: 10 }, (_, at) => `l${at + 1}`));
    button.lastElementChild.textContent = "";
  }
}

/** What is seen while nothing is pointed at: the token that is kept, or all strong threads. */
export function rest() {
  if (!view) return;
  if (kept) {
    show(kept);
    return;
  }
  clear();
  pointed = null;
  const threads = [];
  view.weights.forEach((row, index) => {
    const strongest = Math.max(...row);
    row.forEach((share, mate) => {
      if (share >= WOVEN || share === strongest) threads.push([index, mate, share]);
    });
  });
  weave(threads, true);
  byId("detail").textContent = t("detail_hint");
  onShow(null);
}

/** Threads [target, source, share] as curves; drawn where the tokens stand now. */
function weave(threads, faint = false) {
  const picture = byId("threads");
  const frame = byId("loom").getBoundingClientRect();
  const curves = threads.map(([index, mate, share]) => {
    const [from, to] = [buttons.source[mate], buttons.target[index]].map((button) => button.getBoundingClientRect());
    const [x1, y1] = [from.x + from.width / 2 - frame.x, from.bottom - frame.y];
    const [x2, y2] = [to.x + to.width / 2 - frame.x, to.top - frame.y];
    const middle = (y1 + y2) / 2;
    return svg("path", {
      d: `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`,
      "stroke-width": 0.75 + 6 * share,
      "stroke-opacity": (faint ? 0.55 : 0.9) * Math.max(0.2, share),
    });
  });
  if (!frame.width) return; // not to be seen just now
  picture.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  picture.replaceChildren(...curves);
}

function keep(token) {
  if (kept) buttons[kept.side][kept.index].setAttribute("aria-pressed", "false");
  kept = kept && token && kept.side === token.side && kept.index === token.index ? null : token;
  if (kept) buttons[kept.side][kept.index].setAttribute("aria-pressed", "true");
  rest();
}

function reach(side, index) {
  const within = Math.max(0, Math.min(index, buttons[side].length - 1));
  for (const button of buttons[side]) button.tabIndex = -1;
  buttons[side][within].tabIndex = 0;
  buttons[side][within].focus();
}

function onKey(event, side, index) {
  const on = getComputedStyle(byId(`loom-${side}`)).direction === "rtl" ? -1 : 1; // Arabic runs to the left
  const steps = { ArrowRight: index + on, ArrowLeft: index - on, Home: 0, End: buttons[side].length - 1 };
  if (event.key in steps) reach(side, steps[event.key]);
  else if (event.key === "ArrowUp" || event.key === "ArrowDown") reach(other(side), nearest(side, index));
  else return;
  event.preventDefault();
}

/** The token of the other side that has most to do with this one. */
function nearest(side, index) {
  const shares = view.tokens[other(side)].map((_, mate) => weight(side, index, mate));
  return shares.indexOf(Math.max(...shares));
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view && kept) keep(null);
});
new ResizeObserver(() => (pointed ? show(pointed) : rest())).observe(byId("loom"));
