// The part of the page that opens up an answer: tabs, layers and heads, and what they show of the server's replay.

import { byId, el } from "/page/dom.js";
import { t } from "/page/i18n.js";
import { showBeam } from "/page/beam.js";
import { markMap, showMap } from "/page/heatmap.js";
import { redrawSteps, rewind, showSteps } from "/page/steps.js";
import { rest, reweigh, showTokens } from "/page/tokens.js";

const TABS = ["looks", "steps", "beam"];
let shown = null; // { found, units }

/** Shows a replay. `units`: those of source and target; `fresh`: another text than before. */
export function showInside(found, units, fresh) {
  shown = { found, units };
  byId("inside").hidden = false;
  if (fresh) rewind();
  offerHeads();
  drawLooks();
  drawSteps();
  showBeam(found.beam, units.target);
}

export function hideInside() {
  shown = null;
  byId("inside").hidden = true;
}

/** Once more, in another language. */
export function redrawInside() {
  if (shown) showInside(shown.found, shown.units, false);
}

// -- tabs --------------------------------------------------------------------------------------------------------------

export function startTabs() {
  for (const name of TABS) {
    const tab = byId(`tab-${name}`);
    tab.addEventListener("click", () => open(name));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = TABS[(TABS.indexOf(name) + step + TABS.length) % TABS.length];
      open(next);
      byId(`tab-${next}`).focus();
    });
  }
  open("looks");
  for (const id of ["layer", "head"]) {
    byId(id).addEventListener("change", () => {
      if (id === "layer") byId("head").disabled = byId("layer").value === "";
      reweigh(chosenWeights(shown.found.free));
      drawMap();
      drawSteps();
    });
  }
}

export function open(name) {
  for (const other of TABS) {
    const tab = byId(`tab-${other}`);
    tab.setAttribute("aria-selected", String(other === name));
    tab.tabIndex = other === name ? 0 : -1;
    byId(other).hidden = other !== name;
  }
  if (name === "looks" && shown) rest(); // threads are drawn where tokens can be seen
  if (name === "steps") redrawSteps();
}

// -- layers and heads --------------------------------------------------------------------------------------------------

function offerHeads() {
  const { free } = shown.found;
  const { heads } = free;
  const several = heads && heads.length * heads[0].length > 1;
  byId("heads").hidden = !several;
  byId("heads-large").hidden = !free.heads_left_out;
  if (!several) {
    byId("layer").replaceChildren();
    byId("head").replaceChildren();
    return;
  }
  const kept = [byId("layer").value, byId("head").value];
  const numbered = (count) => Array.from({ length: count }, (_, at) => el("option", { value: at }, String(at + 1)));
  byId("layer").replaceChildren(el("option", { value: "" }, t("layer_own")), ...numbered(heads.length));
  byId("head").replaceChildren(el("option", { value: "" }, t("head_mean")), ...numbered(heads[0].length));
  [byId("layer").value, byId("head").value] = kept;
  if (byId("layer").selectedIndex < 0) byId("layer").value = "";
  if (byId("head").selectedIndex < 0) byId("head").value = "";
  byId("head").disabled = byId("layer").value === "";
}

/** The weights [T][S] of the layer and head chosen; those that the model goes by if none is. */
function chosenWeights(steps) {
  const layer = byId("layer").value;
  if (!steps.heads || layer === "") return steps.attention;
  const ofLayer = steps.heads[Number(layer)];
  if (byId("head").value !== "") return ofLayer[Number(byId("head").value)];
  return ofLayer[0].map((row, at) => row.map((_, s) => ofLayer.reduce((sum, head) => sum + head[at][s], 0) / ofLayer.length));
}

// -- what they show ----------------------------------------------------------------------------------------------------

const tokensOf = () => ({ source: shown.found.source_tokens, target: shown.found.free.tokens });

function drawLooks() {
  const weights = chosenWeights(shown.found.free);
  byId("looks-lead").textContent = t(weights ? "looks_lead" : "looks_none");
  for (const id of ["loom", "detail", "map-box"]) byId(id).hidden = !weights;
  if (!weights) return;
  showTokens(tokensOf(), shown.units, weights, markMap);
  drawMap();
}

function drawMap() {
  showMap(tokensOf(), shown.units, chosenWeights(shown.found.free));
}

/** Which words say whose weights the states are drawn with; null: there is only one kind. */
const headsNote = (steps) => (steps.heads ? "context_heads" : steps.heads_left_out ? "heads_large" : null);

function drawSteps() {
  showSteps(shown.found, shown.units, chosenWeights, headsNote);
}
