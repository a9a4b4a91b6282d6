// English and Korean: the browser's choice first, the reader's own from then on.

import { en } from "/page/words-en.js";
import { ko } from "/page/words-ko.js";

const WORDS = { en, ko };
const STORE = "pairloom.language";
let language = chosen();

function chosen() {
  let own = null;
  try {
    own = localStorage.getItem(STORE);
  } catch {
    // a browser that keeps nothing
  }
  const wanted = [own, ...(navigator.languages ?? [navigator.language])].map((tag) => (tag ?? "").slice(0, 2));
  return wanted.find((tag) => tag in WORDS) ?? "en";
}

/** A text in the reader's language, {name} filled in. */
export function t(name, values = {}) {
  return (WORDS[language][name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

/** The same in pieces, so that values can be elements: t with {name} → array of strings and values. */
export function pieces(name, values) {
  return (WORDS[language][name] ?? name).split(/\{(\w+)\}/).map((part, at) => (at % 2 ? values[part] : part));
}

/** Puts the texts of elements with data-t, and the labels of those with data-label. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
}

/** The switch; `changed` is called after each change. */
export function offerLanguages(changed) {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      language = button.dataset.language;
      try {
        localStorage.setItem(STORE, language);
      } catch {
        // then it is so for this visit
      }
      translate();
      changed();
    });
  }
}

export const decimals = (value, digits = 2) =>
  new Intl.NumberFormat(language, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: "negative", // no minus before what is rounded to 0
  }).format(value);
export const percent = (share) =>
  share > 0 && share < 0.0005 ? "<0.1%" : `${decimals(100 * share, share < 0.0995 && share > 0 ? 1 : 0)}%`;
