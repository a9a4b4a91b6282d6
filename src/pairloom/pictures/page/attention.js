"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEVELS = 10;
  const buttons = {};
  for (const side of ["target", "source"]) {
    buttons[side] = data[side].map((_, index) => document.getElementById(`${side}-${index + 1}`));
  }
  const detail = document.getElementById("detail");
  const table = document.getElementById("table");
  let kept = null; // the token that a click holds

  const other = (side) => (side === "target" ? "source" : "target");
  const weight = (side, index, mate) => (side === "target" ? data.weights[index][mate] : data.weights[mate][index]);
  const label = (side, index) => buttons[side][index].querySelector(".token").textContent;

  function isolated(text) {
    const element = document.createElement("bdi");
    element.textContent = text;
    return element;
  }

  function clear() {
    for (const button of [...buttons.target, ...buttons.source]) {
      button.className = "";
      button.querySelector(".share").textContent = "";
    }
    for (const element of table ? table.querySelectorAll(".chosen") : []) element.classList.remove("chosen");
    detail.textContent = "\u00a0";
  }

  function show({ side, index }) {
    clear();
    buttons[side][index].className = "chosen";
    const mates = data[other(side)].map((_, mate) => ({ mate, share: weight(side, index, mate) }));
    for (const { mate, share } of mates) {
      if (share < 0.01) continue;
      const button = buttons[other(side)][mate];
      button.className = shade(share);
      button.querySelector(".share").textContent = share.toFixed(2);
    }
    if (table) {
      const head = side === "target" ? table.tBodies[0].rows[index] : table.tHead.rows[0].cells[index + 1];
      head.classList.add("chosen");
    }
    const best = mates.filter(({ share }) => share >= 0.01).sort((a, b) => b.share - a.share).slice(0, 5);
    detail.replaceChildren(isolated(label(side, index)), side === "target" ? " attends to " : " is attended to by ");
    best.forEach(({ mate, share }, place) => {
      detail.append(place ? ", " : "", isolated(label(other(side), mate)), ` (${share.toFixed(2)})`);
    });
    if (!best.length) detail.append("nothing with a weight of 0.01 or more");
  }

  const shade = (share) => `l${Math.min(LEVELS, Math.ceil((LEVELS * share) / data.top))}`;

  function redraw() {
    for (const row of table ? table.tBodies[0].rows : []) {
      data.weights[row.rowIndex - 1].forEach((share, index) => {
        const cell = row.cells[index + 1];
        cell.className = share < 0.01 ? "" : shade(share);
        cell.textContent = share < 0.01 ? "" : share.toFixed(2);
      });
    }
  }

  const rest = () => (kept ? show(kept) : clear());

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
    const forward = getComputedStyle(buttons[side][0].parentElement).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const back = forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    if (event.key === forward) reach(side, index + 1);
    else if (event.key === back) reach(side, index - 1);
    else if (event.key === "Home") reach(side, 0);
    else if (event.key === "End") reach(side, buttons[side].length - 1);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") reach(other(side), index);
    else return;
    event.preventDefault();
  }

  for (const side of ["target", "source"]) {
    buttons[side].forEach((button, index) => {
      button.addEventListener("mouseenter", () => show({ side, index }));
      button.addEventListener("mouseleave", rest);
      button.addEventListener("focus", () => show({ side, index }));
      button.addEventListener("blur", rest);
      button.addEventListener("click", () => keep({ side, index }));
      button.addEventListener("keydown", (event) => onKey(event, side, index));
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") keep(null);
  });

  if (table) {
    table.addEventListener("mouseover", (event) => {
      const cell = event.target.closest("tbody td");
      if (!cell) return;
      const index = cell.parentElement.rowIndex - 1;
      const mate = cell.cellIndex - 1;
      show({ side: "target", index });
      table.tHead.rows[0].cells[mate + 1].classList.add("chosen");
      cell.classList.add("chosen");
      detail.replaceChildren(isolated(label("target", index)), " attends to ", isolated(label("source", mate)));
      detail.append(` with ${data.weights[index][mate].toPrecision(3)}`);
    });
    table.addEventListener("mouseleave", rest);
  }

  const choice = document.getElementById("choice");
  if (choice) {
    const select = choice.querySelector("select");
    choice.hidden = false;
    select.addEventListener("change", () => {
      Object.assign(data, data.choices[select.selectedIndex]); // weights and top
      redraw();
      rest();
    });
  }

  // page.html#target-3 opens with that token held, so that a link can point at it
  const [, side, number] = /^#(target|source)-([1-9][0-9]*)$/.exec(location.hash) ?? [];
  if (side && buttons[side][number - 1]) keep({ side, index: number - 1 });
})();
