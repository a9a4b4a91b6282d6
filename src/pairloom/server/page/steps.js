// The decoding replayed: a slider over the steps, and for each the states, the weights, the next token's distribution.

import { byId, el } from "/page/dom.js";
import { decimals, percent, pieces, t } from "/page/i18n.js";
import { plane, stateRows } from "/page/states.js";
import { labelled, named } from "/page/tokens.js";

let shown = null; // { found, units, weightsOf, headsNote }
let at = 0;
let timer = null;
let filled = ""; // what the page itself has put into the field of the right answer

/** Whether both ways through the text are wanted. */
export const sideBySide = () => byId("forcing").checked;
const runs = () => (sideBySide() && shown.found.forced ? ["free", "forced"] : ["free"]);
const last = () => Math.max(...runs().map((name) => shown.found[name].tokens.length)) - 1;

/** `found`: the server's replay; `weightsOf(steps)`: the weights [T][S] that were chosen, or null; `headsNote(steps)`:
 *  the name of the words that say which of several heads they are of, or null. */
export function showSteps(found, units, weightsOf, headsNote) {
  if (shown?.found.source !== found.source || shown.found.model !== found.model) byId("given").value = "";
  shown = { found, units, weightsOf, headsNote };
  at = Math.min(at, last());
  byId("steps-lead").textContent = t(found.states.places ? "steps_lead" : "steps_none");
  pause();
  draw();
}

/** From the first step again: another text. */
export function rewind() {
  at = 0;
}

export function redrawSteps() {
  if (shown) draw();
}

function draw() {
  at = Math.max(0, Math.min(at, last()));
  const scrub = byId("scrub");
  scrub.max = String(last() + 1);
  scrub.value = String(at + 1);
  byId("back").disabled = at === 0;
  byId("forward").disabled = at === last();
  byId("play").textContent = t(timer ? "pause" : "play");
  const { tokens } = shown.found.free;
  const place = { n: at + 1, all: last() + 1 };
  if (at < tokens.length) {
    const token = labelled(tokens[at], shown.units.target);
    byId("where").replaceChildren(...pieces("where_writes", { ...place, token }).map((part) => part.cloneNode?.(true) ?? String(part)));
    scrub.setAttribute("aria-valuetext", t("where_writes", { ...place, token: named(tokens[at], shown.units.target).text }));
  } else {
    byId("where").textContent = t("where", place);
    scrub.setAttribute("aria-valuetext", t("where", place));
  }
  byId("runs").classList.toggle("two", runs().length > 1);
  byId("runs").replaceChildren(...runs().map(run));
}

/** One way through the text: alone, or beside the other. */
function run(name) {
  const steps = shown.found[name];
  const step = Math.min(at, steps.tokens.length - 1);
  const over = at >= steps.tokens.length;
  return el(
    "section",
    { class: `run ${name}${over ? " over" : ""}` },
    runs().length > 1 ? el("h3", {}, t(name)) : null,
    sentence(name, steps, step),
    summary(name, steps),
    el("div", { class: "parts" }, states(steps, step), distribution(name, steps, step), onPlane(steps, step)),
  );
}

function sentence(name, steps, step) {
  const written = steps.tokens.map((token, index) => {
    const { text, starts, end } = named(token, shown.units.target);
    const kind = ["word", starts && "starts", end && "end", index === step && "now", index > step && "later"];
    if (name === "forced" && steps.ranks[index] > 0) kind.push("unlike");
    return el("button", { type: "button", class: kind.filter(Boolean).join(" "), tabindex: -1, onclick: () => go(index) }, text);
  });
  return el("p", { class: "sentence", dir: "auto", "aria-label": t("so_far") }, ...written);
}

function summary(name, steps) {
  const values = { all: steps.tokens.length, n: steps.ranks.filter((rank) => rank === 0).length, score: decimals(steps.score) };
  return runs().length > 1 ? el("p", { class: "note" }, t(`${name}_sum`, values)) : null;
}

function states(steps, step) {
  const { found, units, weightsOf, headsNote } = shown;
  const { size, units: numbers } = found.states;
  const values = { size, units: numbers.length };
  const weights = weightsOf(steps);
  if (!found.states.places || !weights) {
    return el("div", { class: "part kept" }, el("h4", {}, t("state_one", values)), stateRows(found.states, [], "", []));
  }
  return el(
    "div",
    { class: "part kept" },
    el("h4", {}, t("states")),
    stateRows(found.states, found.source_tokens, units.source, weights[step]),
    el("p", { class: "note" }, t("states_note", values), " ", t("context_note"), " ", headsNote(steps) ? t(headsNote(steps)) : ""),
  );
}

function onPlane(steps, step) {
  const { found, units, weightsOf } = shown;
  const weights = weightsOf(steps);
  if (!found.states.places || !weights) return null;
  const { shares } = found.states;
  return el(
    "div",
    { class: "part on-plane" },
    el("h4", {}, t("plane")),
    plane(found.states, found.source_tokens, units.source, weights[step], weights.slice(0, step)),
    el("p", { class: "note" }, t("plane_note", { share: percent(shares[0] + shares[1]) })),
  );
}

/** The ten most probable tokens, and which it was. */
function distribution(name, steps, step) {
  const rank = steps.ranks[step];
  const mark = name === "forced" ? "given_mark" : "chosen";
  const rows = steps.alternatives[step].map(([token, share], place) =>
    el(
      "tr",
      { class: place === rank ? "taken" : "" },
      el("th", { scope: "row" }, labelled(token, shown.units.target)),
      el("td", { class: "bar" }, el("span", { class: "meter", style: { "--part": String(share) } })),
      el("td", { class: "number" }, percent(share)),
      el("td", { class: "mark" }, place === rank ? t(mark) : ""),
    ),
  );
  const token = labelled(steps.tokens[step], shown.units.target);
  const below = { token, p: percent(Math.exp(steps.scores[step])), rank: rank + 1 };
  return el(
    "div",
    { class: "part next" },
    el("h4", {}, t("next")),
    el("table", { class: "next" }, el("tbody", {}, ...rows)),
    rank >= rows.length ? el("p", { class: "note taken" }, ...pieces("below", below).map(String_)) : null,
  );
}

const String_ = (part) => (part instanceof Node ? part : String(part));

function go(step) {
  at = Math.max(0, Math.min(step, last()));
  draw();
}

function pause() {
  clearInterval(timer);
  timer = null;
}

function play() {
  if (timer) pause();
  else {
    if (at === last()) at = 0;
    timer = setInterval(() => {
      if (at < last()) at += 1;
      if (at === last()) pause();
      draw();
    }, 1100);
  }
  draw();
}

/** What is to be read under teacher forcing: what the reader has given for this source, otherwise what the model said. */
export function targetAsked() {
  const given = byId("given");
  if (!given.value.trim() || given.value === filled) given.value = filled = shown.found.free.text;
  return given.value.trim();
}

/** Wires the controls; `compare()` asks the server for the same pair under teacher forcing. */
export function startSteps(compare) {
  byId("scrub").addEventListener("input", (event) => {
    pause();
    go(Number(event.target.value) - 1);
  });
  byId("back").addEventListener("click", () => go(at - 1));
  byId("forward").addEventListener("click", () => go(at + 1));
  byId("play").addEventListener("click", play);
  const switched = () => {
    const on = sideBySide();
    byId("forcing-box").hidden = byId("forcing-note").hidden = !on;
    draw();
    if (on && !shown.found.forced) compare();
  };
  byId("forcing").addEventListener("change", switched);
  byId("compare").addEventListener("click", compare);
  byId("given").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) compare();
  });
}
