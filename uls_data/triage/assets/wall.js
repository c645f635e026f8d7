// The wall: a grid of small pictures of which only those in sight are in the page.

import { $, ask, element, filled, wrong } from "./common.js";
import { desk, on, tell, wordsOf } from "./desk.js";

const GAP = 8, CAPTION = 40, SPARE_ROWS = 2, SETTLED_MS = 60, MOST_TILES = 400, MOST_EDITED = 12;
// Faster than this nobody sees pictures, which would only delay those where the scrolling ends.
const FAST_PX_PER_MS = 3;
const PLANES = ["axial", "coronal", "sagittal", "all"];
const MARKS = { a: "✓", r: "✕", n: "✎", f: "✓", s: "!" };
// Three panels of 160 pixels, two pixels between them.
const PICTURE = 484 / 160;
const grid = $("grid"), sheet = $("sheet");

export const wall = { selected: new Set(), active: 0, size: 160, plane: "axial" };
const shown = new Map(), spare = [], facts = new Map();
let lastTop = 0, lastTime = 0, fast = false, telling = 0;
let anchor = 0, columns = 1, gap = GAP, kept = 0, waiting = 0, settled, factsOf = "";

const tileWidth = () => (wall.plane === "all" ? Math.round(wall.size * PICTURE) : wall.size);
const rowHeight = () => wall.size + CAPTION + GAP;

// ---- drawing ---------------------------------------------------------------------------------

function layout() {
  if (desk.view !== "wall") return;
  const width = grid.clientWidth - GAP;
  columns = Math.max(1, Math.floor(width / (tileWidth() + GAP)));
  // What is left over is shared out between the columns.
  gap = Math.max(GAP, (grid.clientWidth - columns * tileWidth()) / (columns + 1));
  sheet.style.height = `${Math.ceil(desk.order.length / columns) * rowHeight() + GAP}px`;
  grid.style.setProperty("--tile", `${wall.size}px`);
  grid.dataset.plane = wall.plane;
  for (const tile of shown.values()) spare.push(tile);
  for (const tile of spare) tile.remove();
  shown.clear();
  draw();
}

function inSight() {
  const first = Math.floor(grid.scrollTop / rowHeight()) - SPARE_ROWS;
  const last = Math.ceil((grid.scrollTop + grid.clientHeight) / rowHeight()) + SPARE_ROWS;
  return [Math.max(0, first * columns), Math.min(desk.order.length, last * columns)];
}

function draw() {
  const [first, last] = inSight(), now = performance.now();
  fast = Math.abs(grid.scrollTop - lastTop) > FAST_PX_PER_MS * Math.max(now - lastTime, 1);
  [lastTop, lastTime] = [grid.scrollTop, now];
  for (const [at, tile] of shown) {
    if (at >= first && at < last) continue;
    shown.delete(at);
    spare.push(tile);
  }
  for (let at = first; at < last; at += 1) if (!shown.has(at)) put(at);
  while (spare.length) {
    const tile = spare.pop();
    // The browser gives up a picture that nobody sees any longer.
    if (!tile.img.complete) tile.img.removeAttribute("src");
    tile.remove();
  }
  clearTimeout(settled);
  settled = setTimeout(settle, facts.size ? SETTLED_MS : 0);
}

function made() {
  const tile = element("div", "", "tile");
  tile.setAttribute("role", "option");
  const picture = element("div", "", "picture");
  tile.img = document.createElement("img");
  tile.img.alt = "";
  tile.img.decoding = "async";
  tile.img.draggable = false;
  tile.img.addEventListener("load", () => { tile.classList.remove("broken"); ready(); });
  tile.img.addEventListener("error", () => { if (tile.img.hasAttribute("src")) tile.classList.add("broken"); ready(); });
  picture.append(tile.img);
  tile.mark = element("b", "");
  tile.first = element("span", "");
  tile.second = element("small", "");
  const caption = element("p", "");
  caption.append(tile.mark, tile.first, tile.second);
  tile.append(picture, caption);
  return tile;
}

function put(at) {
  const number = desk.order[at];
  const tile = spare.pop() ?? made();
  const row = Math.floor(at / columns), column = at % columns;
  tile.style.transform = `translate(${Math.round(gap + column * (tileWidth() + gap))}px, ${GAP + row * rowHeight()}px)`;
  tile.id = `tile-${at}`;
  tile.dataset.at = at;
  tile.setAttribute("aria-posinset", at + 1);
  tile.setAttribute("aria-setsize", desk.order.length);
  const edited = desk.edited[number];
  tile.source = `thumbnails/${desk.session.run}/${number}${edited ? `/${edited}` : ""}`;
  if (!fast) load(tile);
  else tile.img.removeAttribute("src");
  if (!tile.isConnected) sheet.append(tile);
  shown.set(at, tile);
  dress(at, tile);
}

function load(tile) {
  if (tile.img.getAttribute("src") === tile.source) return;
  tile.classList.remove("broken");
  tile.img.setAttribute("src", tile.source);
}

function settle() {
  fast = false;
  for (const tile of shown.values()) load(tile);
  askFacts();
}

function dress(at, tile) {
  const number = desk.order[at], state = desk.states[number], found = facts.get(number);
  const selected = wall.selected.has(number);
  tile.dataset.state = state;
  tile.setAttribute("aria-selected", selected);
  tile.classList.toggle("active", at === wall.active);
  tile.mark.textContent = MARKS[state] ?? "";
  const words = state === "." ? "" : wordsOf(number);
  tile.first.textContent = words || (found ? found.lesion_type ?? "" : "");
  tile.second.textContent = found ? below(found) : "";
  tile.title = found ? `${found.voi_id}, ${found.layer}` : "";
  tile.setAttribute("aria-label", found
    ? `${found.voi_id}, ${found.layer}, ${found.lesion_type ?? "type not known"}, ${wordsOf(number)}` : `VOI ${number + 1}`);
}

function below(found) {
  if (desk.query.sort) {
    const value = found.value;
    const text = typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(3)) : value;
    return filled(text) ? String(text) : "–";
  }
  return filled(found.long_axis_mm) ? `${found.long_axis_mm.toFixed(1)} mm` : found.voi_id;
}

// A large screen shows more than the server tells at once.
function inParts(numbers, most) {
  return Array.from({ length: Math.ceil(numbers.length / most) }, (_, at) => numbers.slice(at * most, (at + 1) * most));
}

async function askFacts() {
  if (factsOf !== desk.query.sort) facts.clear();
  const sort = factsOf = desk.query.sort;
  const wanted = [...shown.keys()].map((at) => desk.order[at]).filter((n) => !facts.has(n));
  // What was edited is measured first, which takes its time: a few at once, after all others.
  const parts = [...inParts(wanted.filter((n) => !desk.edited[n]), MOST_TILES),
    ...inParts(wanted.filter((n) => desk.edited[n]), MOST_EDITED)];
  try {
    const column = sort ? `&column=${encodeURIComponent(sort)}` : "";
    for (const part of parts) {
      const found = await ask(`api/tiles?numbers=${part.join(",")}${column}`);
      if (sort !== desk.query.sort) return;
      for (const one of found) facts.set(one.number, one);
      redress();
    }
  } catch (error) {
    wrong(error);
  }
  ready();
}

function redress() {
  for (const [at, tile] of shown) dress(at, tile);
}

// For who waits: every picture in sight is there.
function ready() {
  if (!telling) telling = requestAnimationFrame(() => { telling = 0; tellReady(); });
}

function tellReady() {
  const there = [...shown].every(([at, tile]) => tile.img.getAttribute("src") === tile.source && tile.img.complete && facts.has(desk.order[at]));
  document.body.dataset.wall = there && desk.view === "wall" ? "ready" : "";
  // How long the first wall took, for who measures.
  if (there && !performance.getEntriesByName("wall").length) performance.mark("wall");
  if (there) tell("ready");
}

// ---- choosing --------------------------------------------------------------------------------

function choose(at, { more = false, range = false } = {}) {
  if (!desk.order.length) return;
  wall.active = Math.min(Math.max(at, 0), desk.order.length - 1);
  const number = desk.order[wall.active];
  if (range) {
    if (!more) wall.selected.clear();
    const [low, high] = [Math.min(anchor, wall.active), Math.max(anchor, wall.active)];
    for (let i = low; i <= high; i += 1) wall.selected.add(desk.order[i]);
  } else {
    if (!more) wall.selected.clear();
    if (more && wall.selected.has(number)) wall.selected.delete(number);
    else wall.selected.add(number);
    anchor = wall.active;
  }
  changed();
}

function changed() {
  grid.setAttribute("aria-activedescendant", `tile-${wall.active}`);
  redress();
  tell("selection");
}

export function selectAll() {
  wall.selected = new Set(desk.order);
  changed();
}

export function selectNone() {
  wall.selected.clear();
  changed();
}

function move(step, options) {
  choose(wall.active + step, options);
  reveal(wall.active);
}

function reveal(at) {
  const top = Math.floor(at / columns) * rowHeight(), bottom = top + rowHeight() + GAP;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (bottom > grid.scrollTop + grid.clientHeight) grid.scrollTop = bottom - grid.clientHeight;
}

const rowsInSight = () => Math.max(1, Math.floor(grid.clientHeight / rowHeight()));
const steps = {
  ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => columns, ArrowUp: () => -columns,
  PageDown: () => columns * rowsInSight(), PageUp: () => -columns * rowsInSight(),
  Home: () => -desk.order.length, End: () => desk.order.length,
};

export function pressed(event) {
  const key = event.key;
  if (key in steps) {
    // Down from the row above the last one leads to the last VOI, not past it.
    move(steps[key](), { range: event.shiftKey });
    return true;
  }
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "a") { selectAll(); return true; }
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (key === " ") { choose(wall.active, { more: true }); return true; }
  if (key === "Enter") { tell("open"); return true; }
  if (key === "Escape") { selectNone(); return true; }
  if (key === "+" || key === "=") { resize(wall.size + 20); return true; }
  if (key === "-") { resize(wall.size - 20); return true; }
  if ("123".includes(key)) { turn(PLANES[Number(key) - 1]); return true; }
  return false;
}

// ---- size and plane --------------------------------------------------------------------------

// What is at the top stays at the top.
function keepingPlace(act) {
  const top = Math.floor(grid.scrollTop / rowHeight()) * columns;
  act();
  layout();
  grid.scrollTop = Math.floor(top / columns) * rowHeight();
}

export function resize(size) {
  keepingPlace(() => { wall.size = Math.min(Math.max(size, 80), 320); });
  $("size").value = wall.size;
}

export function turn(plane) {
  keepingPlace(() => { wall.plane = plane; });
  $("plane").value = plane;
}

// ---- coming and going ------------------------------------------------------------------------

export function enter() {
  layout();
  grid.scrollTop = kept;
  if (desk.order.length) {
    wall.active = Math.min(desk.place, desk.order.length - 1);
    reveal(wall.active);
    draw();
  }
  changed();
  grid.focus({ preventScroll: true });
}

export function leave() {
  kept = grid.scrollTop;
  document.body.dataset.wall = "";
}

// VOIs that are no longer shown are no longer selected: nobody judges what they do not see.
function reordered() {
  const there = new Set(desk.order);
  for (const number of wall.selected) if (!there.has(number)) wall.selected.delete(number);
  wall.active = anchor = kept = 0;
  grid.scrollTop = 0;
  layout();
  changed();
}

export function listen() {
  // Larger screens show more and larger pictures.
  wall.size = innerWidth < 1600 ? 160 : innerWidth < 2200 ? 180 : 220;
  $("size").value = wall.size;
  grid.addEventListener("scroll", () => {
    if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; draw(); });
  }, { passive: true });
  new ResizeObserver(() => { if (desk.view === "wall") keepingPlace(() => {}); }).observe(grid);
  const at = (event) => event.target.closest(".tile")?.dataset.at;
  sheet.addEventListener("click", (event) => {
    if (at(event)) choose(Number(at(event)), { more: event.ctrlKey || event.metaKey, range: event.shiftKey });
  });
  sheet.addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); });
  sheet.addEventListener("dblclick", (event) => { if (at(event)) tell("open"); });
  $("size").addEventListener("input", () => resize(Number($("size").value)));
  $("size").addEventListener("change", () => grid.focus());
  $("plane").addEventListener("change", () => { turn($("plane").value); grid.focus(); });
  on("verdicts", redress);
  on("order", reordered);
}
