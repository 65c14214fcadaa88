// The page: the settings, what they give, and the pixel that is chosen.
"use strict";

const form = document.querySelector("form"), $ = (name) => document.getElementById(name);
const FIRST = { op: "transposed", by: "torch", k: 3, s: 2, p: 1, same: "same", o: "0", d: 1, mode: "nearest", h: 4, w: 5 };
const EXAMPLES = [
  ["Checkerboard: kernel 3, stride 2", { op: "transposed", by: "torch", k: 3, s: 2, p: 1, o: "1", d: 1 }],
  ["No checkerboard: kernel 4, stride 2", { op: "transposed", by: "torch", k: 4, s: 2, p: 1, o: "0", d: 1 }],
  ["Resize first, then convolve", { op: "up", by: "torch", k: 3, s: 2, p: 1, d: 1, mode: "nearest" }],
  ["Keras' “same” with a stride", { op: "conv", by: "keras", k: 3, s: 2, same: "same", d: 1, h: 6, w: 8 }],
  ["Keras' “same”, transposed", { op: "transposed", by: "keras", k: 3, s: 2, same: "same", o: "", d: 1 }],
  ["mUnet's head: 3 of 4 pixels get nothing", { op: "transposed", by: "torch", k: 3, s: 2, p: 2, o: "1", d: 2 }],
];
const LAYERS = { conv: "convolution", transposed: "transposed convolution", up: "upsampling and convolution" };
let shown = null, stored = [], setting = {};

const clamp = (field) => {
  const value = Math.round(Number(field.value));
  return Math.min(Math.max(Number.isFinite(value) ? value : 1, Number(field.min)), Number(field.max));
};

function read() {
  const given = { op: form.op.value, by: form.by.value, same: form.same.value, mode: form.mode.value };
  for (const name of "kspdhw") given[name] = clamp(form.elements[name]);
  given.o = form.o.value === "" ? null : Number(form.o.value);
  return given;
}

// Which fields the layer has, and what its output padding may be.
function fields(op, by) {
  const show = (name, yes) => document.querySelectorAll(`.of-${name}`).forEach((field) => { field.hidden = !yes; });
  show("torch", by === "torch");
  show("keras", by === "keras");
  show("transposed", op === "transposed");
  show("up", op === "up");
  $("stride-word").textContent = op === "up" ? "Scale" : "Stride";
  const choices = by === "keras" ? ["", "0", "1", "2", "3"] : ["0", "1", "2", "3"], before = form.o.value;
  form.o.replaceChildren(...choices.map((value) => new Option(value || "None", value)));
  form.o.value = choices.includes(before) ? before : choices[0];
}

function write(values) {
  const all = { ...Object.fromEntries(new FormData(form)), ...values };
  form.op.value = all.op;
  form.by.value = all.by;
  fields(all.op, all.by);
  for (const [name, value] of Object.entries(all)) if (form.elements[name]) form.elements[name].value = value ?? "";
}

function show() {
  fields(form.op.value, form.by.value);
  setting = read();
  shown = Arithmetic.solve(setting);
  history.replaceState(null, "", `#${new URLSearchParams({ ...setting, o: setting.o ?? "" })}`);
  $("refused").hidden = !shown.why;
  $("found").hidden = Boolean(shown.why);
  if (shown.why) {
    $("refused").innerHTML = "<b>Refused.</b> ";
    $("refused").append(shown.why);
    return;
  }
  stored = [...Arithmetic.entries(shown)];
  maps();
  words();
  choose(...middle());
}

// The pixel that is shown before one is chosen: in the middle, and reached by some input.
function middle() {
  const row = Math.floor(shown.height / 2), column = Math.floor(shown.width / 2);
  const far = (at) => Math.abs(Math.floor(at / shown.width) - row) + Math.abs(at % shown.width - column);
  const best = shown.count.reduce((kept, value, at) =>
    (value > 0 && (kept < 0 || far(at) < far(kept)) ? at : kept), -1);
  return best < 0 ? [row, column] : [Math.floor(best / shown.width), best % shown.width];
}

const pixel = (row, column) => `row ${row}, column ${column}`;

// What lies around the pixels: zeros in front and behind, or what is cut off or added.
function rims() {
  const { rows, columns } = shown, cut = (axis) => [Math.max(axis.before, 0), Math.max(axis.after, 0)];
  const around = [cut(rows), cut(columns)], none = [[0, 0], [0, 0]];
  return setting.op === "transposed" ? { input: none, output: around }
    : setting.op === "conv" ? { input: around, output: none } : { input: none, output: none };
}

function table(height, width, [above, beside], inner, outer) {
  const lines = [];
  for (let i = -above[0]; i < height + above[1]; i++) {
    lines.push([]);
    for (let j = -beside[0]; j < width + beside[1]; j++) {
      const inside = i >= 0 && j >= 0 && i < height && j < width;
      lines.at(-1).push(inside ? inner(i, j) : { out: true, text: outer[0], label: outer[1] });
    }
  }
  return lines;
}

function maps() {
  const { height, width, y, count } = shown, { k, h, w } = setting, { input, output } = rims(), taps = k * k;
  const across = (wide, rim) => wide + rim[1][0] + rim[1][1];
  const room = document.querySelector(".maps").clientWidth, wide = across(width, output), narrow = room < 640;
  const small = narrow ? room : Math.min(room * 0.3, 260);
  const sideIn = Grids.sideFor(Math.max(across(w, input), k), small);
  const left = (across(w, input) + k) * (sideIn + 1) + 70;
  const tall = !narrow && (room - left) / 2 / wide < 19; // the two large grids below the two small ones
  document.querySelector(".maps").classList.toggle("tall", tall);
  const sideOut = Grids.sideFor(wide, narrow ? room - 4 : tall ? (room - 30) / 2 : (room - left) / 2 - 16);
  const most = Math.max(...count, 1e-9), heat = (value) => Grids.heat(value / most);
  const bright = Math.max(...y, 1e-9);
  const faint = (value) => `rgba(128, 128, 128, ${(0.6 * value / bright).toFixed(3)})`;
  const padded = setting.op === "conv" ? ["0", "padding, zero"] : ["", "cut off"];
  Grids.draw($("input"), { name: "Input", rim: [input[0][0], input[1][0]], side: sideIn, chosen: chooseInput,
    cells: table(h, w, input, (i, j) => ({ text: i * w + j + 1, label: `input ${pixel(i, j)}, value ${i * w + j + 1}` }), padded) });
  Grids.draw($("kernel"), { name: "Kernel", rim: [0, 0], side: sideIn,
    cells: table(k, k, [[0, 0], [0, 0]], (u, v) => ({ text: u * k + v + 1, hue: Grids.hue(u * k + v, taps),
      label: `kernel ${pixel(u, v)}, value ${u * k + v + 1}` }), padded) });
  Grids.draw($("output"), { name: "Output", rim: [output[0][0], output[1][0]], side: sideOut, chosen: choose,
    cells: table(height, width, output, (i, j) => ({ text: Grids.short(y[i * width + j]), faint: faint(y[i * width + j]),
      label: `output ${pixel(i, j)}, value ${Grids.short(y[i * width + j])}` }), padded) });
  Grids.draw($("count"), { name: "Overlap count", rim: [output[0][0], output[1][0]], side: sideOut, chosen: choose,
    cells: table(height, width, output, (i, j) => ({ text: Grids.short(count[i * width + j]), colour: heat(count[i * width + j]),
      label: `output ${pixel(i, j)}, overlap count ${Grids.short(count[i * width + j])}` }), padded) });
  const sizes = { input: [h, w], kernel: [k, k], output: [height, width], count: [height, width] };
  for (const [name, [rows, columns]] of Object.entries(sizes))
    $(name).parentElement.querySelector(".size").textContent = `${rows} × ${columns}`;
  const around = [...input.flat(), ...output.flat()].some((n) => n > 0);
  $("legend").textContent = !around ? "" : setting.op === "conv"
    ? "Hatched: zeros that the padding adds around the input."
    : "Hatched: what the padding cuts off the full result. Padding of a transposed convolution is a crop.";
}

function words() {
  const { rows, columns, height, width } = shown, { h, w, s, op, by } = setting;
  const owner = by === "torch" ? "PyTorch's" : "Keras'";
  $("summary").textContent = `${owner} ${LAYERS[op]}: ${h} × ${w} becomes ${height} × ${width}.`;
  const lines = [];
  for (const [name, n] of h === w ? [["Height and width", h]] : [["Height", h], ["Width", w]]) {
    const [symbols, numbers, size] = Words.formula(setting, n);
    lines.push(["dt", name], ...(lines.length ? [] : [["dd", symbols]]), ["dd", `${numbers} = ${size}`]);
  }
  const ends = (axis) => `${axis.before} in front, ${axis.after} behind`;
  const both = ends(rows) === ends(columns) ? ends(rows) : `rows ${ends(rows)}; columns ${ends(columns)}`;
  lines.push(["dt", op === "transposed" ? "Cut off (negative: added)" : "Zeros added"], ["dd", both]);
  $("formula").replaceChildren(...lines.map(([tag, text], at) => {
    const line = document.createElement(tag);
    line.textContent = text;
    if (tag === "dd" && at === 1) line.className = "sign";
    return line;
  }));
  const found = Words.calls(setting, shown);
  for (const side of ["torch", "keras"]) {
    $(side).textContent = `${found[side].layer}\n${found[side].run}`;
    $(side).dataset.refused = Boolean(found[side].refused);
    $(`${side}-notes`).textContent = found[side].notes.join(" ");
  }
  board(op === "conv" ? 1 : s);
  const cells = height * width * h * w, share = 100 * stored.length / cells;
  $("matrix-word").textContent = `One row an output pixel, one column an input pixel: ${height * width} × ${h * w}. ` +
    `${stored.length} of ${cells} entries are stored (${share.toFixed(share < 10 ? 1 : 0)} %)` +
    (op === "transposed" ? "; it is the transpose of the convolution's matrix." : ".");
  $("matrix").setAttribute("aria-label", `Matrix of ${height * width} rows and ${h * w} columns; the list below holds its entries`);
  list();
}

// The counts by row and column modulo the stride: unequal ones are a checkerboard that no training chose.
function board(period) {
  const means = Arithmetic.phases(shown, period), all = means.flat().filter((value) => value !== null);
  const least = Math.min(...all), most = Math.max(...all), even = most - least < 1e-9;
  const empty = shown.count.filter((value) => value === 0).length, whole = shown.count.length;
  $("board-word").textContent = setting.op === "conv" ? "What each output reads" : "Checkerboard";
  $("board").textContent = (setting.op === "conv" ? "A convolution reads: each count is how many pixels of the input it sums. "
    : even ? "None: away from the border every output pixel is written equally often. "
      : `Away from the border some pixels are written ${Grids.short(least)} times and others ${Grids.short(most)} times. ` +
        "Equal weights already draw this pattern. ") +
    (empty ? `${empty} of ${whole} output pixels are reached by no input: they hold the bias alone.` : "");
  $("phases").replaceChildren(...(setting.op === "conv" ? [] : means.map((line) => {
    const row = document.createElement("tr");
    row.replaceChildren(...line.map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value === null ? "" : Grids.short(value);
      cell.style.background = Grids.heat(most ? value / most : 0);
      return cell;
    }));
    return row;
  })));
  $("phases").setAttribute("aria-label", "Mean count by row and column modulo the stride");
}

function list() {
  const open = document.querySelector("details").open;
  $("entries").textContent = open ? stored.map((entry) => entry.slice(0, 3).join(" ")).join("\n") : "";
}

// Mark an output pixel, its inputs, and the kernel entries in between.
function choose(row, column) {
  const terms = shown.into(row, column), here = new Set([`${row} ${column}`]);
  link(here, new Map(), new Set(), new Map(terms.map((t) => [`${t.i} ${t.j}`, Grids.hue(t.tap, setting.k ** 2)])), terms);
  const y = shown.y[row * shown.width + column];
  equation(`y[${row}, ${column}] = `, terms.length ? terms.map((t) => [`K[${t.u}, ${t.v}]·x[${t.i}, ${t.j}]` +
    (t.part === 1 ? "" : `·${t.part}`), t.tap]) : [], ` = ${Grids.short(y)}`);
}

// Mark an input pixel and the output pixels that it reaches.
function chooseInput(i, j) {
  const terms = shown.from(i, j);
  link(new Set(), new Map(terms.map((t) => [`${t.row} ${t.column}`, Grids.hue(t.tap, setting.k ** 2)])),
    new Set([`${i} ${j}`]), new Map(), terms);
  equation(`x[${i}, ${j}] reaches `, terms.map((t) => [`y[${t.row}, ${t.column}] by K[${t.u}, ${t.v}]`, t.tap]), "");
}

function link(outputs, reached, inputs, read, terms) {
  for (const name of ["output", "count"]) Grids.mark($(name), outputs, name === "output" ? reached : new Map());
  Grids.mark($("input"), inputs, read);
  const used = new Set(terms.map((t) => `${t.u} ${t.v}`));
  for (const cell of $("kernel").querySelectorAll(".cell"))
    cell.classList.toggle("away", used.size > 0 && !used.has(`${cell.dataset.row} ${cell.dataset.column}`));
  const row = [...outputs].map((key) => key.split(" ").map(Number)).map(([a, b]) => a * shown.width + b);
  const column = [...inputs].map((key) => key.split(" ").map(Number)).map(([a, b]) => a * setting.w + b);
  Matrix.draw($("matrix"), shown, setting.k ** 2, stored, new Set(row), new Set(column));
}

const most = () => (innerWidth < 640 ? 9 : 27); // terms that an equation spells out

function equation(before, terms, after) {
  const parts = [before];
  terms.slice(0, most()).forEach(([text, tap], at) => {
    const part = document.createElement("i");
    part.style.setProperty("--hue", Grids.hue(tap, setting.k ** 2));
    part.textContent = text;
    parts.push(at ? (after ? " + " : ", ") : "", part);
  });
  if (!terms.length) parts.push(after ? "0" : "nothing");
  if (terms.length > most()) parts.push(` and ${terms.length - most()} more`);
  $("equation").replaceChildren(...parts, terms.length ? after : "");
}

for (const [text, values] of EXAMPLES) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = () => { write({ ...FIRST, ...values }); show(); };
  document.querySelector(".examples").append(button);
}
form.addEventListener("input", show);
form.addEventListener("change", (event) => {
  if (event.target.type === "number") event.target.value = clamp(event.target);
});
document.querySelector("details").ontoggle = () => shown.why || list();
$("matrix").onmousemove = (event) => {
  const [row] = Matrix.under($("matrix"), event);
  if (row >= 0 && row < shown.height * shown.width) choose(Math.floor(row / shown.width), row % shown.width);
};
window.addEventListener("resize", () => shown.why || (maps(), choose(...middle())));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
write({ ...FIRST, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) });
show();
document.documentElement.dataset.ready = "yes";
