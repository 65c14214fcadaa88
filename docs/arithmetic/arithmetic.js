// Sizes, pads, crops and the linear map of one setting: plain numbers, nothing of the page.
// A setting: {op: "conv" | "transposed" | "up", by: "torch" | "keras", k, s, d, h, w, p (torch), same (keras),
// o: output padding or null, mode: "nearest" | "bilinear"}. One number serves both axes; h and w may differ.
"use strict";

const Arithmetic = (() => {
  const extent = (setting) => setting.d * (setting.k - 1) + 1;

  // Why the frameworks refuse a setting: what must hold, what came, what to do. "" where they take it.
  function refusal(setting) {
    const { op, by, k, s, d, o, h, w } = setting;
    if (op !== "up" && by === "keras" && s > 1 && d > 1) {
      const where = op === "conv" ? "Keras' Conv2D" : "Keras' transposed convolution";
      const other = op === "conv" ? "Conv2d" : "ConvTranspose2d";
      return `stride and dilation must not both be greater than 1 in ${where}; got stride=${s}, dilation=${d}. ` +
        `Use ${other} (PyTorch's meaning), which takes both.`;
    }
    if (op === "transposed" && by === "torch" && o >= Math.max(s, d))
      return `output_padding must be smaller than stride or dilation; got output_padding=${o}, stride=${s}, ` +
        `dilation=${d}. Use less output_padding.`;
    if (op === "transposed" && by === "keras" && o !== null && o >= s)
      return `output_padding must be smaller than stride; got output_padding=${o}, stride=${s}. ` +
        "Use less output_padding, or None.";
    for (const [name, n] of [["height", h], ["width", w]]) {
      const { size } = sizes(setting, n);
      if (size >= 1) continue;
      if (op === "transposed")
        return `the output must have at least one pixel; got output ${name}=${size} from input ${name}=${n}. ` +
          "Use less padding or a greater input.";
      return `the dilated kernel must fit in the padded input; got input ${name}=${op === "up" ? n * s : n}, ` +
        `kernel extent ${extent(setting)}. Use a larger input, more padding or a smaller kernel.`;
    }
    return "";
  }

  // Zeros in front and behind (conv, up) or pixels cut off in front and behind (transposed; negative: added).
  function sizes(setting, n) {
    const { op, by, s, p, same, o } = setting, e = extent(setting);
    if (op === "transposed") {
      const full = (n - 1) * s + e;
      if (by === "torch") return { full, before: p, after: p - o, size: full - 2 * p + o };
      let kept, before = 0;
      if (same === "valid") kept = o === null ? Math.max(e, s) : e + o;
      else {
        kept = o === null ? s : (e % 2) + o;
        before = Math.floor(Math.max(e - kept, 0) / 2);
      }
      return { full, before, after: e - kept - before, size: (n - 1) * s + kept };
    }
    const room = op === "up" ? n * s : n, step = op === "up" ? 1 : s;
    let before = by === "torch" ? p : 0, after = before;
    if (by === "keras" && same === "same") {
      const total = Math.max((Math.ceil(room / step) - 1) * step + e - room, 0);
      before = Math.floor(total / 2);
      after = total - before;
    }
    return { full: room + before + after, before, after, size: Math.floor((room + before + after - e) / step) + 1 };
  }

  // Which input pixels a pixel of the enlarged image takes, with their shares.
  function sources(q, n, scale, mode) {
    if (mode === "nearest") return [[Math.floor(q / scale), 1]];
    const place = (q + 0.5) / scale - 0.5, low = Math.floor(place), share = place - low;
    const ends = [Math.max(low, 0), Math.min(low + 1, n - 1)];
    if (ends[0] === ends[1]) return [[ends[0], 1]];
    return [[ends[0], 1 - share], [ends[1], share]].filter(([, part]) => part > 0);
  }

  // One axis: every (output, input, kernel entry, share) that is summed.
  function axis(setting, n) {
    const { op, k, s, d, mode } = setting;
    const found = { n, ...sizes(setting, n), terms: [] };
    const add = (o, i, u, part) => { if (o >= 0 && o < found.size) found.terms.push({ o, i, u, part }); };
    if (op === "transposed") {
      for (let i = 0; i < n; i++) for (let u = 0; u < k; u++) add(i * s + u * d - found.before, i, u, 1);
    } else {
      const room = op === "up" ? n * s : n, step = op === "up" ? 1 : s;
      for (let o = 0; o < found.size; o++) for (let u = 0; u < k; u++) {
        const q = o * step - found.before + u * d;
        if (q < 0 || q >= room) continue;
        for (const [i, part] of op === "up" ? sources(q, n, s, mode) : [[q, 1]]) add(o, i, u, part);
      }
    }
    found.into = Array.from({ length: Math.max(found.size, 0) }, () => []);
    found.from = Array.from({ length: n }, () => []);
    for (const term of found.terms) { found.into[term.o].push(term); found.from[term.i].push(term); }
    return found;
  }

  // The whole map. x and K count from 1, row by row; y is the output without a bias.
  function solve(setting) {
    const why = refusal(setting);
    if (why) return { why };
    const rows = axis(setting, setting.h), columns = axis(setting, setting.w), { k, w } = setting;
    const both = (above, beside) => above.flatMap((a) => beside.map((b) => ({
      row: a.o, column: b.o, y: a.o * columns.size + b.o, x: a.i * w + b.i, i: a.i, j: b.i,
      u: a.u, v: b.u, tap: a.u * k + b.u, part: a.part * b.part,
    })));
    const into = (row, column) => both(rows.into[row], columns.into[column]);
    const sum = (terms) => terms.reduce((total, term) => total + term.part, 0);
    const y = [], count = [];
    for (let row = 0; row < rows.size; row++) for (let column = 0; column < columns.size; column++) {
      y.push(into(row, column).reduce((total, t) => total + t.part * (t.tap + 1) * (t.x + 1), 0));
      count.push(sum(rows.into[row]) * sum(columns.into[column]));
    }
    return {
      rows, columns, y, count, into,
      from: (i, j) => both(rows.from[i], columns.from[j]),
      height: rows.size, width: columns.size,
      stored: new Set(rows.terms.map((t) => `${t.o} ${t.i}`)).size *
        new Set(columns.terms.map((t) => `${t.o} ${t.i}`)).size,
    };
  }

  // The matrix, row by row: [row, column, value, kernel entries], of output pixels times input pixels.
  function* entries(found) {
    for (let row = 0; row < found.height; row++) for (let column = 0; column < found.width; column++) {
      const kept = new Map();
      for (const term of found.into(row, column)) {
        const entry = kept.get(term.x) ?? [term.y, term.x, 0, []];
        entry[2] += term.part * (term.tap + 1);
        entry[3].push(term.tap);
        kept.set(term.x, entry);
      }
      yield* [...kept.values()].sort((a, b) => a[1] - b[1]);
    }
  }

  // The mean count of each phase, away from the border: row and column modulo the stride.
  function phases(found, period) {
    const middle = (size) => {
      const rim = Math.min(2 * period, Math.floor((size - period) / 2 / period) * period);
      return [Math.max(rim, 0), size - Math.max(rim, 0)];
    };
    const [top, bottom] = middle(found.height), [left, right] = middle(found.width);
    const sums = Array.from({ length: period }, () => Array.from({ length: period }, () => [0, 0]));
    for (let row = top; row < bottom; row++) for (let column = left; column < right; column++) {
      const cell = sums[row % period][column % period];
      cell[0] += found.count[row * found.width + column];
      cell[1] += 1;
    }
    return sums.map((line) => line.map(([total, cells]) => (cells ? total / cells : null)));
  }

  return { extent, refusal, sizes, solve, entries, phases };
})();
