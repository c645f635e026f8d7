// Three planes of the VOI that is looked at: slices, outlines, level and width, pan, zoom, a ruler.

import { $, element, filled, putLetters, shape, scaleBar, wrong } from "./common.js";
import { desk } from "./desk.js";
import { draw as drawMarks } from "./marks.js";

export const PLANES = ["Axial", "Coronal", "Sagittal"];
// What lies left, right, above and below in each plane.
const LETTERS = [["R", "L", "A", "P"], ["R", "L", "H", "F"], ["A", "P", "H", "F"]];
const MARGIN = 1.7, LEAST_MM = 36, MOST_SLICES = 60, STILL_PX = 4, NARROWEST_HU = 2;
export const figures = PLANES.map(figureOf);
$("planes").replaceChildren(...figures);
const slices = new Map();

export const planes = {
  voi: null, layers: [], position: [0, 0, 0], opened: [0, 0, 0], centre: [0, 0, 0], side: LEAST_MM, zoom: 1,
  window: [0, 1], preset: "", plane: 0, marks: true, large: false, tool: "window", rulers: [], cursor: null,
  // What a page draws over a slice, in mm.
  over: null,
};
const painted = figures.map(() => ({ picture: document.createElement("canvas"), of: "" }));
let wheel = 0;

function figureOf(name) {
  const figure = element("figure", "");
  figure.tabIndex = 0;
  figure.role = "img";
  figure.ariaLabel = `${name} plane`;
  figure.append(element("canvas", ""), shape("svg", {}), element("figcaption", ""), element("p", "", "window"), element("p", "", "cursor"));
  for (const drawn of figure.querySelectorAll("canvas, svg")) drawn.ariaHidden = "true";
  return figure;
}

// ---- geometry --------------------------------------------------------------------------------

// Planes are drawn in mm: x and y of a picture run against their axes of the VOI.
function frame(p) {
  const [right, down, across] = desk.session.planes[p], mm = planes.voi.spacing_mm, n = desk.session.shape;
  return { right, down, across, sx: mm[right], sy: mm[down], width: n[right], height: n[down],
    x: (index) => (n[right] - index) * mm[right], y: (index) => (n[down] - index) * mm[down] };
}

export function box(p) {
  const figure = figures[p], f = frame(p);
  const width = figure.clientWidth, height = figure.clientHeight;
  const mm = planes.side / planes.zoom / Math.min(width, height);
  const x = f.x(planes.centre[f.right]) - width * mm / 2, y = f.y(planes.centre[f.down]) - height * mm / 2;
  return { f, mm, x, y, width, height };
}

// Index in the VOI, with fractions, of a point of a figure.
export function indexAt(p, event) {
  const { f, mm, x, y } = box(p), edge = figures[p].getBoundingClientRect();
  const border = figures[p].clientLeft;
  const found = planes.position.map((k) => k + 0.5);
  found[f.right] = f.width - (x + (event.clientX - edge.left - border) * mm) / f.sx;
  found[f.down] = f.height - (y + (event.clientY - edge.top - border) * mm) / f.sy;
  return found;
}

const clamp = (value, axis) => Math.min(Math.max(Math.floor(value), 0), desk.session.shape[axis] - 1);

// ---- slices ----------------------------------------------------------------------------------

const sliceUrl = (number, axis, k) => `voxels/${desk.session.run}/${number}/${axis}/${k}`;

function fetched(voi, axis, k) {
  const url = sliceUrl(voi.number, axis, k);
  let found = slices.get(url);
  if (!found) {
    found = { values: null };
    found.done = fetch(url).then(async (answer) => {
      if (!answer.ok) throw new Error("a slice could not be loaded; is the server still there?");
      const Kind = voi.voxel_bytes === 2 ? Int16Array : Int32Array;
      found.values = new Kind(await answer.arrayBuffer());
    });
    found.done.catch(() => slices.delete(url));
    slices.set(url, found);
    if (slices.size > MOST_SLICES) slices.delete(slices.keys().next().value);
  }
  return found;
}

export function prefetch(voi) {
  if (!voi.has_image) return;
  opening(voi).forEach((k, axis) => fetched(voi, axis, k).done.catch(() => {}));
}

// ---- drawing ---------------------------------------------------------------------------------

// Grey values of a slice; padding is not tissue: hatched, in a colour that no window gives.
function paint(p, values, name) {
  const { f } = box(p), { picture } = painted[p];
  const [low, high] = planes.window, pad = planes.voi.row.pad_value_hu;
  const of = `${name} ${low} ${high}`;
  if (painted[p].of === of) return;
  painted[p].of = of;
  picture.width = f.width;
  picture.height = f.height;
  const context = picture.getContext("2d"), image = context.createImageData(f.width, f.height);
  const pixels = new Uint32Array(image.data.buffer), scale = 255 / (high - low);
  for (let at = 0; at < values.length; at += 1) {
    const hu = values[at];
    if (hu === pad) {
      const hatch = (at % f.width + Math.floor(at / f.width)) % 8 < 2;
      pixels[at] = hatch ? 0xff6c426c : 0xff462846;
    } else {
      const grey = Math.min(Math.max((hu - low) * scale, 0), 255) | 0;
      pixels[at] = 0xff000000 | grey << 16 | grey << 8 | grey;
    }
  }
  context.putImageData(image, 0, 0);
}

export function draw() {
  if (!planes.voi || desk.view !== "single") return Promise.resolve();
  return Promise.all(figures.map((_, p) => drawPlane(p)));
}

async function drawPlane(p) {
  const { voi } = planes, axis = desk.session.planes[p][2], k = planes.position[axis];
  if (!voi.has_image) { fill(p, null); return; }
  const slice = fetched(voi, axis, k);
  if (!slice.values) {
    try {
      await slice.done;
    } catch (error) {
      wrong(error);
      return;
    }
    // Of slices asked for faster than they come, the last one is drawn.
    if (voi !== planes.voi || planes.position[axis] !== k) return;
  }
  fill(p, slice.values);
}

function fill(p, values) {
  const figure = figures[p], canvas = figure.querySelector("canvas"), b = box(p);
  const sharp = window.devicePixelRatio || 1;
  const width = Math.round(b.width * sharp), height = Math.round(b.height * sharp);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d"), scale = sharp / b.mm;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  context.setTransform(scale, 0, 0, scale, -b.x * scale, -b.y * scale);
  if (values) {
    paint(p, values, sliceUrl(planes.voi.number, b.f.across, planes.position[b.f.across]));
    // Far in, voxels are seen as they are.
    context.imageSmoothingEnabled = b.f.sx / b.mm < 12;
    context.drawImage(painted[p].picture, 0, 0, b.f.width * b.f.sx, b.f.height * b.f.sy);
  } else {
    context.fillStyle = "#2a2d31";
    context.fillRect(0, 0, b.f.width * b.f.sx, b.f.height * b.f.sy);
  }
  planes.over?.(context, p, b);
  figure.values = values;
  figure.classList.toggle("active", p === planes.plane);
  const svg = figure.querySelector("svg");
  svg.setAttribute("viewBox", `${b.x} ${b.y} ${b.width * b.mm} ${b.height * b.mm}`);
  svg.replaceChildren(...drawMarks(planes, p, b));
  caption(figure, b, p);
}

function caption(figure, { f, mm, width }, p) {
  const [low, high] = planes.window, k = planes.position[f.across];
  const words = `${PLANES[p]} ${k} of ${desk.session.shape[f.across] - 1}`;
  figure.querySelector("figcaption").textContent = words;
  figure.setAttribute("aria-label", `${words} of ${planes.voi.row.voi_id}`);
  figure.querySelector(".window").textContent = planes.voi.has_image
    ? `level ${Math.round((low + high) / 2)} width ${Math.round(high - low)}`.replace("-", "−") : "no image";
  if (filled(planes.voi.row.spacing_x_mm)) scaleBar(figure, width * mm);
  else figure.querySelector(".scale")?.remove();
}

function readout(p, event) {
  const line = figures[p].querySelector(".cursor");
  if (!event || !planes.voi) { line.textContent = ""; return; }
  const { f } = box(p), index = indexAt(p, event).map(Math.floor);
  if (index.some((k, axis) => k < 0 || k >= desk.session.shape[axis])) { line.textContent = ""; return; }
  const at = (f.height - 1 - index[f.down]) * f.width + (f.width - 1 - index[f.right]);
  const hu = figures[p].values?.[at], a = planes.voi.affine;
  const mm = a ? [0, 4, 8].map((r) => a[r] * index[0] + a[r + 1] * index[1] + a[r + 2] * index[2] + a[r + 3])
    : index.map((k, axis) => k * planes.voi.spacing_mm[axis]);
  const padded = hu === planes.voi.row.pad_value_hu;
  const words = [padded ? "padding" : filled(hu) ? `${hu} HU` : "", `${mm.map((v) => v.toFixed(1)).join(", ")} mm`];
  line.textContent = words.filter(Boolean).join(" · ").replaceAll("-", "−");
}

// ---- moving ----------------------------------------------------------------------------------

function opening(voi) {
  const { row } = voi;
  return [128, 128, row.key_slice_voi ?? row.long_axis_slice_voi ?? 64]
    .map((k, axis) => Math.min(Math.max(Math.round(k), 0), desk.session.shape[axis] - 1));
}

export function load(voi) {
  const [low, high] = voi.box;
  planes.voi = voi;
  planes.rulers = [];
  planes.opened = opening(voi);
  setPreset(voi.window);
  const sides = low.map((a, axis) => (high[axis] - a) * voi.spacing_mm[axis]);
  planes.side = Math.max(MARGIN * Math.max(...sides), LEAST_MM);
  home();
}

function home() {
  const [low, high] = planes.voi.box;
  planes.position = [...planes.opened];
  planes.centre = low.map((a, axis) => (a + high[axis]) / 2);
  planes.zoom = 1;
}

export function scroll(p, step) {
  const axis = desk.session.planes[p][2];
  planes.position[axis] = clamp(planes.position[axis] + step, axis);
  planes.plane = p;
  return draw();
}

// About a point that stays where it is, or about the middle.
export function zoomBy(factor, p, event) {
  const before = event && indexAt(p, event);
  planes.zoom = Math.min(Math.max(planes.zoom * factor, 0.1), 20);
  if (event) indexAt(p, event).forEach((k, axis) => { planes.centre[axis] += before[axis] - k; });
  return draw();
}

function setPreset(name) {
  planes.preset = name;
  planes.window = [...desk.session.windows_hu[name]];
  $("preset").value = name;
}

function setWindow(level, width) {
  const half = Math.max(width, NARROWEST_HU) / 2;
  planes.window = [level - half, level + half];
  planes.preset = "";
  $("preset").value = "";
}

export function setTool(name) {
  planes.tool = planes.tool === name ? "window" : name;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === planes.tool);
  }
  $("planes").dataset.tool = planes.tool;
}

export function enlarge(large = !planes.large) {
  planes.large = large;
  arrange();
  return draw();
}

function arrange() {
  $("planes").classList.toggle("large", planes.large);
  $("large").setAttribute("aria-pressed", planes.large);
  figures.forEach((figure, p) => figure.classList.toggle("main", planes.large && p === planes.plane));
}

export function look(p) {
  planes.plane = p;
  if (planes.large) arrange();
  return draw();
}

// ---- the mouse -------------------------------------------------------------------------------

function pressed(p, event) {
  if (!planes.voi || event.button > 1) return;
  event.preventDefault();
  const figure = figures[p], start = indexAt(p, event), [low, high] = planes.window;
  const from = { x: event.clientX, y: event.clientY, centre: [...planes.centre] };
  const tool = event.button === 1 || event.shiftKey ? "pan" : planes.tool;
  let moved = false, ruler = null;
  figure.setPointerCapture(event.pointerId);
  const move = (now) => {
    const dx = now.clientX - from.x, dy = now.clientY - from.y;
    if (!moved && Math.hypot(dx, dy) < STILL_PX) return;
    moved = true;
    const { f, mm } = box(p);
    if (tool === "pan") {
      planes.centre[f.right] = from.centre[f.right] + dx * mm / f.sx;
      planes.centre[f.down] = from.centre[f.down] + dy * mm / f.sy;
    } else if (tool === "ruler") {
      if (!ruler) planes.rulers.push(ruler = { p, k: planes.position[f.across], start });
      ruler.end = indexAt(p, now);
    } else {
      const step = Math.max(high - low, 50) / 300;
      setWindow((low + high) / 2 + dy * step, high - low + dx * step);
    }
    draw();
  };
  const end = (last) => {
    figure.removeEventListener("pointermove", move);
    figure.removeEventListener("pointerup", end);
    figure.removeEventListener("pointercancel", end);
    if (moved || last.type === "pointercancel" || event.button === 1) return;
    // A click that moves nothing brings the other planes to its point.
    const { f } = box(p);
    for (const axis of [f.right, f.down]) planes.position[axis] = clamp(start[axis], axis);
    planes.plane = p;
    if (planes.large) arrange();
    draw();
  };
  figure.addEventListener("pointermove", move);
  figure.addEventListener("pointerup", end);
  figure.addEventListener("pointercancel", end);
}

// What every page with planes does with these keys.
export const once = {
  w: () => {
    const names = Object.keys(desk.session.windows_hu);
    setPreset(names[(names.indexOf(planes.preset) + 1) % names.length]);
    draw();
  },
  o: () => {
    planes.marks = !planes.marks;
    document.querySelector("button[data-key=o]").setAttribute("aria-pressed", planes.marks);
    draw();
  },
  Home: () => { home(); draw(); },
  1: () => look(0),
  2: () => look(1),
  3: () => look(2),
};
export const held = {
  ArrowUp: () => scroll(planes.plane, 1),
  ArrowDown: () => scroll(planes.plane, -1),
  PageUp: () => scroll(planes.plane, 5),
  PageDown: () => scroll(planes.plane, -5),
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
};

export function listen() {
  $("preset").replaceChildren(new Option("Window…", ""), ...Object.keys(desk.session.windows_hu).map((name) => new Option(name)));
  $("preset").addEventListener("change", () => {
    if ($("preset").value) setPreset($("preset").value);
    $("preset").blur();
    draw();
  });
  figures.forEach((figure, p) => {
    putLetters(figure, LETTERS[p]);
    figure.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!planes.voi) return;
      if (event.ctrlKey) { zoomBy(event.deltaY < 0 ? 1.25 : 0.8, p, event); return; }
      // A notch of a wheel is a slice; a touchpad sends many small steps.
      wheel += event.deltaY;
      const steps = Math.trunc(wheel / 60);
      if (steps) { wheel -= steps * 60; scroll(p, -Math.sign(steps)).then(() => readout(p, event)); }
    }, { passive: false });
    figure.addEventListener("pointerdown", (event) => pressed(p, event));
    figure.addEventListener("pointermove", (event) => readout(p, event));
    figure.addEventListener("pointerleave", () => readout(p, null));
    figure.addEventListener("focus", () => { if (planes.voi && p !== planes.plane) { planes.plane = p; draw(); } });
    new ResizeObserver(() => draw()).observe(figure);
  });
}
