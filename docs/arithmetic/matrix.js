// The sparse matrix as a picture: a square for each stored entry, in the colour of its kernel entry.
"use strict";

const Matrix = (() => {
  let kept = null;

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (name) => { // as the scheme has it: a canvas knows no variables
    document.documentElement.style.outlineColor = `var(${name})`;
    return getComputedStyle(document.documentElement).outlineColor;
  };

  // Draw the entries of `found`; `rows` and `columns` are the output and input pixels that are marked.
  function draw(canvas, found, taps, entries, rows, columns) {
    const height = found.height * found.width, width = found.rows.n * found.columns.n;
    const room = Math.max(canvas.parentElement.clientWidth - 4, 200);
    const high = Math.max(1, Math.min(12, Math.floor(560 / height)));
    const wide = Math.max(1, Math.min(12, Math.max(3, 3 * high), Math.floor(room / width)));
    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * wide * ratio;
    canvas.height = height * high * ratio;
    canvas.style.width = `${width * wide}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.fillStyle = colour("--shade");
    for (const row of rows) pen.fillRect(0, row * high, width * wide, high);
    for (const column of columns) pen.fillRect(column * wide, 0, wide, height * high);
    const lightness = style("--tap-l"), chroma = style("--tap-c"), gap = high > 4 ? 1 : 0;
    for (const [row, column, , which] of entries) {
      const bright = rows.size + columns.size === 0 || rows.has(row) || columns.has(column);
      pen.globalAlpha = bright ? 1 : 0.55;
      pen.fillStyle = `oklch(${lightness} ${chroma} ${Grids.hue(which[0], taps)})`;
      pen.fillRect(column * wide, row * high, wide - gap, high - gap);
    }
    pen.globalAlpha = 1;
    kept = { height, width };
  }

  // The output and input pixel under the pointer.
  function under(canvas, event) {
    const box = canvas.getBoundingClientRect();
    return [Math.floor((event.clientY - box.top) / box.height * kept.height),
      Math.floor((event.clientX - box.left) / box.width * kept.width)];
  }

  return { draw, under };
})();
