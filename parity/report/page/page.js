"use strict";
// The page of a report: filter of the layer table, both graphs side by side, and marking of partners.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 196, HEIGHT = 34, ROW = 58, GAP = 18, RUN = 4, DUMMIES = 6000;
const sections = [...document.querySelectorAll("details.pair")].map((root) => new Map([["root", root]]));

const make = (name, attributes, parent) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
};

const write = (parent, text, attributes) => { make("text", attributes, parent).textContent = text; };

const shorten = (text, most) => (text.length <= most ? text : "…" + text.slice(text.length - most + 1));

// ---- the layer table ------------------------------------------------------------------------------------

const rowsOf = (section) => [...section.get("root").querySelectorAll(".layers tbody tr")];

function filter(section) {
  const root = section.get("root");
  const search = root.querySelector(".search");
  if (!search) return;
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const only = root.querySelector(".only").checked;
  let shown = 0;
  for (const row of rowsOf(section)) {
    const text = row.dataset.text;
    row.hidden = (only && !row.classList.contains("bad")) || !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  root.querySelector(".count").textContent = `${shown} of ${rowsOf(section).length} calls`;
}

function remember(section) {
  const root = section.get("root");
  const state = new URLSearchParams();
  if (sections.length > 1) state.set("pair", root.id.slice(5));
  if (root.querySelector(".search").value) state.set("filter", root.querySelector(".search").value);
  if (root.querySelector(".only").checked) state.set("divergent", "1");
  try { history.replaceState(null, "", "#" + state); } catch { /* some browsers refuse this for files */ }
}

function followAddress() {
  const address = decodeURIComponent(location.hash.slice(1));
  const target = address && document.getElementById(address);
  if (target) {
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
    return;
  }
  const state = new URLSearchParams(location.hash.slice(1));
  for (const section of sections) {
    const root = section.get("root");
    if (state.has("pair") && root.id !== "pair-" + state.get("pair")) continue;
    if (!root.querySelector(".search")) continue;
    root.querySelector(".search").value = state.get("filter") || "";
    root.querySelector(".only").checked = state.get("divergent") === "1";
    if (state.has("pair")) root.open = true;
    filter(section);
  }
}

// ---- graphs ---------------------------------------------------------------------------------------------

// {nodes, edges}: nodes [id, label, kind, path, shape, row of the table or -1, status]; edges by position in nodes.
function prepare(data) {
  const position = new Map(data.nodes.map((node, i) => [node[0], i]));
  const graph = { nodes: data.nodes, out: data.nodes.map(() => []), into: data.nodes.map(() => []), open: new Set() };
  for (const [from, to] of data.edges) {
    const a = position.get(from), b = position.get(to);
    if (a === undefined || b === undefined || a === b) continue;
    graph.out[a].push(b);
    graph.into[b].push(a);
  }
  return graph;
}

// Runs of unremarkable nodes, each with one operand and one user, become one box; the others stand alone.
function boxes(graph) {
  const owner = new Array(graph.nodes.length).fill(-1), found = [];
  const plain = (i) => graph.into[i].length === 1 && graph.out[i].length === 1 && graph.nodes[i][6] !== "bad";
  const startsRun = (i) => plain(i) && !plain(graph.into[i][0]);
  graph.nodes.forEach((_, i) => {
    if (owner[i] >= 0 || (plain(i) && !startsRun(i))) return;
    let members = [i];
    if (startsRun(i)) for (let j = graph.out[i][0]; plain(j) && j !== i; j = graph.out[j][0]) members.push(j);
    const parts = members.length >= RUN && !graph.open.has(i) ? [members] : members.map((j) => [j]);
    for (const part of parts) {
      part.forEach((j) => { owner[j] = found.length; });
      found.push(part);
    }
  });
  graph.nodes.forEach((_, i) => { if (owner[i] < 0) { owner[i] = found.length; found.push([i]); } });
  return { owner, found };
}

// Rows by the longest way from an input; what nothing feeds stands just above its first user.
function layered(graph) {
  const { owner, found } = boxes(graph);
  const count = found.length, out = found.map(() => new Set()), missing = new Array(count).fill(0);
  graph.out.forEach((users, i) => users.forEach((j) => { if (owner[i] !== owner[j]) out[owner[i]].add(owner[j]); }));
  out.forEach((users) => users.forEach((j) => { missing[j] += 1; }));
  const fed = missing.map((n) => n > 0), depth = new Array(count).fill(0), order = [];
  const ready = missing.flatMap((n, i) => (n ? [] : [i]));
  for (let at = 0; at < ready.length; at += 1) {
    const i = ready[at];
    order.push(i);
    for (const j of out[i]) {
      depth[j] = Math.max(depth[j], depth[i] + 1);
      missing[j] -= 1;
      if (!missing[j]) ready.push(j);
    }
  }
  for (const i of order) if (!fed[i] && out[i].size) depth[i] = Math.max(0, Math.min(...[...out[i]].map((j) => depth[j])) - 1);
  return { found, owner, out, depth };
}

// Points per row; an edge over several rows gets a thin point in each row between, so that it runs past the boxes.
function placed({ found, out, depth }) {
  const rows = [], points = found.map((_, i) => ({ box: i, up: [], down: [], wide: WIDTH, row: depth[i] }));
  const add = (point) => { (rows[point.row] ||= []).push(point); };
  points.forEach(add);
  const links = [];
  let dummies = 0;
  out.forEach((users, i) => users.forEach((j) => {
    const chain = [points[i]];
    for (let row = depth[i] + 1; row < depth[j] && dummies < DUMMIES; row += 1, dummies += 1) {
      const point = { box: -1, up: [], down: [], wide: 10, row };
      add(point);
      chain.push(point);
    }
    chain.push(points[j]);
    for (let k = 1; k < chain.length; k += 1) { chain[k].up.push(chain[k - 1]); chain[k - 1].down.push(chain[k]); }
    links.push(chain);
  }));
  const arrange = (row) => {
    const width = row.reduce((sum, point) => sum + point.wide + GAP, -GAP);
    let x = -width / 2;
    for (const point of row) { point.x = x + point.wide / 2; x += point.wide + GAP; }
  };
  const filled = rows.filter(Boolean);
  filled.forEach(arrange);
  const pull = (side) => (row) => {
    for (const point of row) {
      const near = point[side];
      point.wish = near.length ? near.reduce((sum, other) => sum + other.x, 0) / near.length : point.x;
    }
    row.sort((a, b) => a.wish - b.wish);
    arrange(row);
  };
  for (let pass = 0; pass < 2; pass += 1) {
    filled.forEach(pull("up"));
    [...filled].reverse().forEach(pull("down"));
  }
  filled.forEach(pull("up"));
  return { points, links, rows: rows.length };
}

const RANK = { "": 0, ok: 1, some: 2, bad: 3 };

function draw(section, side) {
  const graph = section.get(side), holder = section.get("root").querySelector(`.graph.${side}`);
  const layout = layered(graph), { points, links, rows } = placed(layout);
  const left = Math.min(...points.map((p) => p.x)) - WIDTH / 2 - GAP;
  const right = Math.max(...points.map((p) => p.x), ...links.flat().map((p) => p.x)) + WIDTH / 2 + GAP;
  const least = Math.min(left, ...links.flat().map((p) => p.x - GAP));
  const width = right - least, height = rows * ROW + GAP;
  holder.replaceChildren();
  const svg = make("svg", { width, height, viewBox: `${least} 0 ${width} ${height}`, role: "img", "aria-label": `${graph.nodes.length} steps of the ${side} side` }, holder);
  const top = (point) => point.row * ROW + GAP;
  for (const chain of links) {
    let d = "";
    for (let k = 1; k < chain.length; k += 1) {
      const a = chain[k - 1], b = chain[k];
      const from = top(a) + (a.box < 0 ? HEIGHT / 2 : HEIGHT), to = top(b) + (b.box < 0 ? HEIGHT / 2 : 0), mid = (from + to) / 2;
      d += `M${a.x} ${from}C${a.x} ${mid} ${b.x} ${mid} ${b.x} ${to}`;
    }
    make("path", { d }, svg);
  }
  const drawn = new Map();
  points.forEach((point) => {
    const members = layout.found[point.box], nodes = members.map((i) => graph.nodes[i]), [first] = nodes;
    const status = nodes.map((node) => node[6]).reduce((a, b) => (RANK[b] > RANK[a] ? b : a), "");
    const run = members.length > 1;
    const group = make("g", { class: `node ${status}${run ? " run" : ""}`, transform: `translate(${point.x - WIDTH / 2} ${top(point)})` }, svg);
    make("title", {}, group).textContent = run
      ? `${members.length} steps, click to open: ${nodes.map((node) => node[1]).join(", ")}`
      : `${first[1]}: ${first[2]}${first[4] ? ", " + first[4] : ""}`;
    make("rect", { width: WIDTH, height: HEIGHT }, group);
    const last = nodes[nodes.length - 1];
    const title = run ? `${shorten(first[1], 12)} … ${shorten(last[1], 12)}` : shorten(first[1], 27);
    const kind = run ? `${members.length} steps, ${first[2]} … ${last[2]}` : [first[2], first[4]].filter(Boolean).join("  ");
    write(group, title, { x: 8, y: 14 });
    write(group, kind.length > 31 ? kind.slice(0, 30) + "…" : kind, { x: 8, y: 27, class: "k" });
    group.addEventListener("click", () => {
      if (run) { graph.open.add(members[0]); draw(section, side); } else mark(section, first[5], side, members[0]);
    });
    members.forEach((i) => drawn.set(i, { group, point, run, first: members[0] }));
  });
  section.set(side + "-drawn", drawn);
}

function show(holder, x, y) {
  holder.scrollTo({ top: y - holder.clientHeight / 2, left: x - holder.clientWidth / 2 });
}

// Mark one call everywhere: its row, and its boxes in both graphs.
function mark(section, row, side, node) {
  const root = section.get("root");
  root.querySelectorAll(".on").forEach((element) => element.classList.remove("on"));
  const line = row >= 0 ? rowsOf(section)[row] : null;
  if (line) {
    line.classList.add("on");
    const holder = line.closest(".box");
    holder.scrollTop = line.offsetTop - holder.clientHeight / 2;
  }
  for (const name of ["keras", "torch"]) {
    const graph = section.get(name);
    if (!graph) continue;
    const at = name === side ? [node] : graph.nodes.flatMap((item, i) => (row >= 0 && item[5] === row ? [i] : []));
    for (const i of at) {
      if (section.get(name + "-drawn").get(i).run) {
        graph.open.add(section.get(name + "-drawn").get(i).first);
        draw(section, name);
      }
      const { group } = section.get(name + "-drawn").get(i);
      group.classList.add("on");
      const box = group.getBoundingClientRect(), holder = root.querySelector(`.graph.${name}`), frame = holder.getBoundingClientRect();
      show(holder, box.x - frame.x + holder.scrollLeft + box.width / 2, box.y - frame.y + holder.scrollTop);
    }
  }
}

function openGraphs(section) {
  const root = section.get("root"), data = root.querySelector("script.graphs-data");
  if (!data || section.has("keras")) return;
  const parsed = JSON.parse(data.textContent);
  for (const side of ["keras", "torch"]) {
    section.set(side, prepare(parsed[side]));
    draw(section, side);
    const bad = parsed[side].nodes.findIndex((node) => node[6] === "bad");
    const drawn = section.get(side + "-drawn").get(Math.max(bad, 0));
    const holder = root.querySelector(`.graph.${side}`), svg = holder.firstElementChild;
    if (drawn) show(holder, drawn.point.x - svg.viewBox.baseVal.x, bad >= 0 ? drawn.point.row * ROW : 0);
  }
}

for (const section of sections) {
  const root = section.get("root");
  root.addEventListener("toggle", () => { if (root.open) openGraphs(section); });
  if (root.open) openGraphs(section);
  rowsOf(section).forEach((row, i) => row.addEventListener("click", (event) => {
    if (event.target.tagName === "A") return;
    openGraphs(section);
    mark(section, i, "", -1);
  }));
  for (const input of root.querySelectorAll(".search,.only")) {
    input.addEventListener("input", () => { filter(section); remember(section); });
  }
  root.querySelectorAll(".unfold").forEach((button) => button.addEventListener("click", () => {
    const all = ["keras", "torch"].every((side) => section.get(side).open.size === 0);
    for (const side of ["keras", "torch"]) {
      const graph = section.get(side);
      graph.open = new Set(all ? graph.nodes.keys() : []);
      draw(section, side);
    }
  }));
}
addEventListener("hashchange", followAddress);
sections.forEach(filter);
followAddress();
document.documentElement.dataset.ready = Math.round(performance.now());
