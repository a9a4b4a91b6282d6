// What went wrong, in words; and trying again, by hand or when the server has said it makes sense.

import { byId, el } from "/page/dom.js";
import { t } from "/page/i18n.js";

const MOST_TRIES = 3; // in a row, without anybody's asking

let timer = null;
let tries = 0;

export function clearTrouble() {
  clearInterval(timer);
  byId("problem").hidden = true;
}

/** Says what the problem is. `again` tries once more: after `problem.wait` seconds by itself if the server was busy. */
export function trouble(problem, again) {
  clearInterval(timer);
  const retry = (asked) => {
    clearInterval(timer);
    tries = asked ? 0 : tries + 1;
    again();
  };
  const clock = el("span", { "aria-hidden": "true" });
  const box = byId("problem");
  box.hidden = false;
  box.replaceChildren(
    el("p", {}, t(`problem_${problem.kind}`, { message: problem.message }), " ", clock),
    problem.kind === "lost" || problem.kind === "busy"
      ? el("button", { type: "button", onclick: () => retry(true) }, t("retry"))
      : "",
  );
  if (problem.kind !== "busy" || tries >= MOST_TRIES) {
    tries = 0;
    return;
  }
  let seconds = Math.max(1, Math.ceil(problem.wait));
  const tick = () => {
    if (seconds === 0) retry(false);
    clock.textContent = t("retry_in", { n: seconds });
    seconds -= 1;
  };
  tick();
  timer = setInterval(tick, 1000);
}
