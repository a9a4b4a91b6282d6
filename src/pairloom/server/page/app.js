// The page: a text, its answer as it is written, and a look inside. Three forms: translation, words, conversation.

import { Problem, explain, models, stream, useKey } from "/page/api.js";
import { addAnswer, addLine, redrawTalk, said as saidBefore, startTalk } from "/page/talk.js";
import { byId, el } from "/page/dom.js";
import { decimals, offerLanguages, t, translate } from "/page/i18n.js";
import { hideInside, open, redrawInside, showInside, startTabs } from "/page/inside.js";
import { sideBySide, startSteps, targetAsked } from "/page/steps.js";
import { clearTrouble, trouble } from "/page/trouble.js";

const WORD_UNITS = new Set(["character", "jamo", "space"]);
const MOST_EARLIER = 12;

let shelf = []; // what the server has
let model = null;
let work = null; // the AbortController of what is under way
let comparing = null; // the same, if it is a comparison: another one may take its place
let last = null; // { body, note } of what is opened up: how it was asked, and what was said of it
const earlier = []; // [source, output] of the compact form, newest first

/** How the page is laid out for a model: a conversation, single words, or sentences. */
function formOf({ dialogue, source, target }) {
  if (dialogue) return "chat";
  return WORD_UNITS.has(source.unit) && WORD_UNITS.has(target.unit) ? "compact" : "translate";
}

const unitsOf = ({ source, target }) => ({ source: source.unit, target: target.unit });

// -- asking ------------------------------------------------------------------------------------------------------------

async function submit(event) {
  event?.preventDefault();
  if (!byId("key-line").hidden) {
    useKey(byId("key").value);
    byId("key-line").hidden = true;
    clearTrouble();
    if (!model) return start();
  }
  const text = byId("source").value.trim();
  if (!text) return say(t("nothing"));
  if (formOf(model) === "chat") byId("source").value = "";
  return answer(text);
}

/** The answer to a text: its first draft piece by piece, then what the search makes of it, and the look inside. */
async function answer(text) {
  work?.abort();
  const mine = (work = new AbortController());
  const chat = formOf(model) === "chat";
  const body = { model: model.name, text, ...searchAsked(), ...(chat && { before: saidBefore() }) };
  const place = chat ? addLine(text, body, look) : byId("answer");
  clearTrouble();
  busy(true);
  if (!chat) clearAnswer();
  say(t("working"));
  try {
    const draft = await stream({ ...body, ...(body.sample ? {} : { beam: 1 }) }, (piece) => place.append(piece), mine.signal);
    say(t(body.beam > 1 ? "searching" : "looking"));
    const found = await explain(body, mine.signal);
    finish(place, body, found, draft);
  } catch (error) {
    return failed(error, mine, () => answer(text));
  } finally {
    ended(mine);
  }
  if (!chat && sideBySide()) await compare();
}

/** Puts the final answer in place of the draft, with what it came from. */
function finish(place, body, found, draft) {
  const said = found.free.text;
  const cut = found.cut ? ` ${t("cut", { n: found.cut })}` : "";
  const note = `${body.beam > 1 && said !== draft ? t("improved") : ""}${cut}`;
  place.textContent = said;
  place.classList.remove("draft");
  if (formOf(model) === "chat") addAnswer(place);
  else {
    last = { body, note };
    showOthers(found);
    showInside(found, unitsOf(model), true);
  }
  if (formOf(model) === "compact") remember(found.source, said || draft);
  say(note);
  byId("announce").textContent = t("done", { text: said });
}

/** Opens up an earlier line of the conversation. */
async function look(body) {
  work?.abort();
  const mine = (work = new AbortController());
  busy(true);
  say(t("looking"));
  try {
    const found = await explain(body, mine.signal);
    last = { body, note: "" };
    showInside(found, unitsOf(model), true);
    byId("inside").scrollIntoView({ behavior: "smooth" });
    say("");
  } catch (error) {
    return failed(error, mine, () => look(body));
  } finally {
    ended(mine);
  }
  if (sideBySide()) await compare();
}

/** The same pair under teacher forcing beside free running. An answer that is under way does it itself when it is there. */
async function compare() {
  if (!last || work !== comparing) return;
  work?.abort();
  const mine = (work = comparing = new AbortController());
  const { body, note } = last;
  clearTrouble();
  busy(true);
  say(t("looking"));
  try {
    const target = targetAsked();
    const found = await explain({ ...body, ...(target && { target }) }, mine.signal);
    if (!target) found.forced = found.free; // it says nothing: what it reads is its own end either way
    showInside(found, unitsOf(model), false);
    say(note);
  } catch (error) {
    failed(error, mine, compare);
  } finally {
    ended(mine);
  }
}

function ended(mine) {
  if (work !== mine) return;
  work = comparing = null;
  busy(false);
}

function failed(error, mine, again) {
  if (error.name === "AbortError") {
    if (work === mine) say(t("stopped"));
    return;
  }
  say("");
  if (!(error instanceof Problem)) throw error;
  if (error.kind === "key") {
    byId("key-line").hidden = false;
    byId("key").focus();
  }
  trouble(error, again);
}

// -- what is asked -----------------------------------------------------------------------------------------------------

/** The search that is chosen; what is drawn is drawn by a seed of ours, so that it can be opened up afterwards. */
function searchAsked() {
  const choice = byId("search").value;
  if (choice === "sample") {
    const { temperature, top_k, top_p } = model.defaults;
    return { sample: true, temperature, top_k, top_p, seed: Math.floor(Math.random() * 2 ** 31) };
  }
  return { beam: Number(choice), sample: false };
}

function offerSearches() {
  const { beam, sample } = model.defaults;
  const widths = [...new Set([beam, 5, 10])].filter((width) => width > 1 && width <= model.limits.beam).sort((a, b) => a - b);
  byId("search").replaceChildren(
    ...widths.map((k) => el("option", { value: k }, t("search_beam", { k }))),
    el("option", { value: 1 }, t("search_greedy")),
    el("option", { value: "sample" }, t("search_sample")),
  );
  byId("search").value = sample ? "sample" : String(beam);
}

// -- what is shown -----------------------------------------------------------------------------------------------------

function busy(on) {
  byId("stop").hidden = !on;
  byId("answer-side").setAttribute("aria-busy", String(on));
  document.body.classList.toggle("busy", on);
}

function say(text) {
  byId("status").textContent = text;
}

function clearAnswer() {
  byId("answer").textContent = "";
  byId("answer").classList.add("draft");
  byId("others").replaceChildren();
}

/** The other candidates under the answer, each with its share of the probability of all that were found. */
function showOthers({ beam }) {
  const rest = (beam?.endings ?? []).filter((ending) => ending.finished).slice(1, 4);
  const caption = el("li", { class: "caption" }, el("span", {}, t("others")), el("span", {}, t("final")));
  byId("others").replaceChildren(...(rest.length ? [caption] : []), ...rest.map(({ text, normalised }) =>
    el("li", {}, el("span", { dir: "auto" }, text), el("span", { class: "number muted" }, decimals(normalised)))));
}

function remember(source, output) {
  if (earlier[0]?.[0] !== source) earlier.unshift([source, output]);
  earlier.splice(MOST_EARLIER);
  byId("earlier").hidden = earlier.length < 2;
  byId("earlier-rows").replaceChildren(...earlier.slice(1).map(([from, to]) =>
    el("tr", {}, el("th", { scope: "row", dir: "auto" }, from), el("td", { dir: "auto" }, to))));
}

/** Names of languages in the reader's language, where the server knows them. */
function sideName(side, otherwise) {
  const code = model.languages[side];
  return code ? new Intl.DisplayNames([document.documentElement.lang], { type: "language" }).of(code) : otherwise;
}

function showModel() {
  const form = formOf(model);
  document.body.dataset.form = form;
  byId("source-name").textContent = sideName("source", t(`ask_${form}`));
  byId("answer-name").textContent = sideName("target", t("answer"));
  byId("source").lang = model.languages.source ?? "";
  byId("answer").lang = model.languages.target ?? "";
  byId("source").placeholder = t(form === "translate" ? "placeholder" : "placeholder_line");
  byId("source").rows = form === "translate" ? 3 : 1;
  byId("go").textContent = t(form === "chat" ? "say" : "go");
  byId("talk").hidden = form !== "chat";
  byId("answer-side").hidden = form === "chat";
  byId("about").textContent = `${model.kind} · ${model.source.unit} → ${model.target.unit}`;
}

function choose(name) {
  model = shelf.find((one) => one.name === name) ?? shelf[0];
  work?.abort();
  hideInside();
  clearAnswer();
  clearTrouble();
  say("");
  last = null;
  earlier.length = 0;
  byId("earlier").hidden = true;
  startTalk();
  offerSearches();
  showModel();
}

function onKey(event) {
  if (event.key !== "Enter" || event.isComposing || event.shiftKey) return; // while Hangul is composed, Enter ends it
  if (event.ctrlKey || event.metaKey || formOf(model) !== "translate") submit(event);
}

function changedLanguage() {
  if (!model) return;
  const { value } = byId("search");
  offerSearches();
  byId("search").value = value;
  showModel();
  redrawTalk();
  redrawInside();
}

async function start() {
  try {
    shelf = await models();
  } catch (error) {
    return failed(error, null, start);
  }
  byId("model").replaceChildren(...shelf.map(({ name }) => el("option", { value: name }, name)));
  byId("model-pick").hidden = shelf.length < 2;
  choose(shelf[0].name);
  byId("source").focus();
}

translate();
offerLanguages(changedLanguage);
startTabs();
startSteps(compare);
byId("ask").addEventListener("submit", submit);
byId("source").addEventListener("keydown", onKey);
byId("stop").addEventListener("click", () => work?.abort());
byId("model").addEventListener("change", (event) => choose(event.target.value));
open("looks");
start();
