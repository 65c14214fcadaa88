// The grids of pixels: cells that are pointed at or stepped through with the arrow keys, and marks of what is reached.
"use strict";

const Grids = (() => {
  // The colour of a kernel entry, the same in the kernel, the grids, the equation and the matrix.
  const hue = (tap, taps) => Math.round((30 + 330 * tap / Math.max(taps, 1)) % 360);

  // The ground of a count that is this share of the greatest one; opaque, so that no line shows through.
  const heat = (share) => `color-mix(in srgb, var(--heat) ${(75 * share).toFixed(1)}%, var(--cell))`;

  const GREATEST = 40, LEAST = 6; // pixels of a cell's side

  // A cell's side in pixels, so that `across` cells take at most `room` pixels.
  const sideFor = (across, room) => Math.max(LEAST, Math.min(GREATEST, Math.floor(room / across) - 1));

  const short = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2).replace(/0$/, ""));

  // Fill `place` with rows of cells. A cell: {text, label, kind, colour}; `rim` is how many cells lie around the pixels.
  function draw(place, { name, cells, rim, side, chosen }) {
    place.replaceChildren();
    place.setAttribute("role", "grid");
    place.setAttribute("aria-label", name);
    place.style.setProperty("--side", `${side}px`);
    const first = cells.findIndex((line) => line.some((cell) => !cell.out));
    cells.forEach((line, i) => {
      const row = place.appendChild(document.createElement("div"));
      row.setAttribute("role", "row");
      line.forEach((cell, j) => {
        const box = row.appendChild(document.createElement("div"));
        box.className = cell.out ? "cell out" : "cell";
        box.setAttribute("role", "gridcell");
        box.setAttribute("aria-label", cell.label);
        const size = Math.min(side * 0.36, 1.5 * side / String(cell.text).length); // pixels, so that it fits
        if (size >= 7) { box.textContent = cell.text; box.style.fontSize = `${size}px`; }
        else if (cell.faint) box.style.background = cell.faint;
        if (cell.colour) box.style.background = cell.colour;
        if (cell.hue !== undefined) { box.classList.add("tap"); box.style.setProperty("--hue", cell.hue); }
        if (cell.out) return;
        box.dataset.row = i - rim[0];
        box.dataset.column = j - rim[1];
        box.tabIndex = -1;
      });
    });
    const home = first < 0 ? null : at(place, 0, 0);
    if (home && chosen) home.tabIndex = 0;
    if (chosen) listen(place, chosen);
  }

  const at = (place, row, column) => place.querySelector(`[data-row="${row}"][data-column="${column}"]`);

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function listen(place, chosen) {
    const pixel = (event) => event.target.closest("[data-row]");
    const where = (cell) => [Number(cell.dataset.row), Number(cell.dataset.column)];
    place.onmouseover = (event) => pixel(event) && chosen(...where(pixel(event)));
    place.onfocusin = place.onmouseover;
    place.onclick = (event) => pixel(event)?.focus();
    place.onkeydown = (event) => {
      const cell = pixel(event), move = MOVES[event.key];
      if (!cell) return;
      const [row, column] = where(cell);
      const next = move ? at(place, row + move[0], column + move[1])
        : event.key === "Home" ? at(place, row, 0)
          : event.key === "End" ? [...place.querySelectorAll(`[data-row="${row}"]`)].pop() : null;
      if (!move && event.key !== "Home" && event.key !== "End") return;
      event.preventDefault();
      if (!next) return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    };
    // onfocusin is no property in every browser.
    if (!place.dataset.heard) place.addEventListener("focusin", (event) => place.onfocusin(event));
    place.dataset.heard = "yes";
  }

  // Mark cells: `on` those that are chosen, `taps` a Map from "row column" to a hue.
  function mark(place, on, taps) {
    for (const cell of place.querySelectorAll("[data-row]")) {
      const key = `${cell.dataset.row} ${cell.dataset.column}`, colour = taps.get(key);
      cell.classList.toggle("on", on.has(key));
      cell.classList.toggle("tap", colour !== undefined);
      if (colour !== undefined) cell.style.setProperty("--hue", colour);
    }
  }

  return { hue, heat, sideFor, short, draw, mark };
})();
