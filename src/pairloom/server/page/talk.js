// A conversation: what was said by whom, and for each reply a way to look inside.

import { byId, el } from "/page/dom.js";
import { t } from "/page/i18n.js";

const MOST_LINES = 50;

/** An empty conversation. */
export function startTalk() {
  byId("talk").replaceChildren();
}

/** What was said so far, oldest first: a model that has learnt from conversations replies with it in mind. */
export function said() {
  return [...byId("talk").querySelectorAll(".said")].map((line) => line.textContent).filter(Boolean).slice(-MOST_LINES);
}

/** A line and the place for the reply to it, which is given back. `look(body)` opens the reply up. */
export function addLine(text, body, look) {
  const reply = el("p", { class: "said draft", dir: "auto" });
  const open = el("button", { type: "button", class: "quiet", hidden: true, data: { t: "look" }, onclick: () => look(body) }, t("look"));
  byId("talk").append(
    el("li", { class: "mine" }, el("span", { class: "name", data: { t: "you" } }, t("you")), el("p", { class: "said", dir: "auto" }, text)),
    el("li", { class: "its" }, el("span", { class: "name", data: { t: "it" } }, t("it")), reply, open),
  );
  reply.scrollIntoView({ block: "nearest" });
  return reply;
}

/** The reply is whole: it can be looked into. */
export function addAnswer(reply) {
  reply.nextElementSibling.hidden = false;
  reply.nextElementSibling.scrollIntoView({ block: "nearest" });
}

/** In another language; `translate` has already put the words with data-t. */
export function redrawTalk() {
  byId("talk").setAttribute("aria-label", t("talk"));
}
