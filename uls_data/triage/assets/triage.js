// One VOI at a time: three planes, a verdict by the keyboard. Text from the manifest goes into the
// page as text only.

import { $, ask, element, filled, listKeys, onKeys, say, shape, theme, wrong } from "./common.js";

const PLANES = ["Axial", "Coronal", "Sagittal"];
// What lies left, right, above and below in each plane.
const LETTERS = [["R", "L", "A", "P"], ["R", "L", "H", "F"], ["A", "P", "H", "F"]];
const WORDS = { ".": "not judged", a: "accepted", r: "rejected", n: "noted", s: "judged on another mask" };
const MARGIN = 1.7, LEAST_MM = 36, ZOOM = 1.25;
const FACTS = [
  ["lesion_type", "Type"], ["layer", "Layer"], ["supervision", "Supervision"], ["source", "Source"],
  ["case_id", "Case"], ["lesion_index", "Lesion"], ["long_axis_mm", "Long axis, mm"],
  ["short_axis_mm", "Short axis, mm"], ["volume_mm3", "Volume, mm³"], ["predicted_dice", "Predicted Dice"],
  ["uncertainty", "Disagreement"], ["recist_long_vox", "Reader's long axis, px"],
  ["recist_short_vox", "Reader's short axis, px"], ["key_slice_long_error_vox", "Long axis off, px"],
  ["key_slice_short_error_vox", "Short axis off, px"], ["agreement_level", "Readers who agree"],
  ["patient_sex", "Sex"], ["patient_age_years", "Age"],
];
const KEYS = [
  ["a", "accept, and on to the next that is not judged"], ["r", "reject: the lesion shall be left out"],
  ["n", "note"], ["u", "undo the last verdict"], ["x", "take away the verdict shown"],
  ["→ ←", "next, previous VOI"], ["space", "next VOI that is not judged"],
  ["↑ ↓", "slice; also the wheel, and PgUp PgDn by five"], ["1 2 3", "which plane the arrows scroll"],
  ["click", "bring the other planes there"], ["Home", "back to where the VOI opened"],
  ["w", "window: lung, soft tissue or bone"], ["o", "outline and lines on or off"],
  ["+ −", "zoom; also the wheel with Ctrl"], ["j", "jump to the worst by a column"],
  ["t", "light or dark"], ["? Esc", "this help, and away"],
];

let session, states, order, columns, place = 0;
let voi = null, position = [0, 0, 0], view = null, zoom = 1, window_, plane = 0, marks = true;
let busy = false, asked = 0, sorted = null, wheel = 0;
const shownSlice = [null, null, null], loading = [false, false, false];

const number = () => order[place];
const planeUrl = (n, p, at) =>
  `slices/${session.run}/${n}/${session.planes[p][2]}/${at}/${window_}`;

// ---- showing ---------------------------------------------------------------------------------

async function show(at) {
  place = at;
  const mine = ++asked;
  document.body.dataset.ready = "";
  const found = await ask(`api/vois/${number()}`);
  if (mine !== asked) return;
  voi = found;
  window_ = voi.window;
  const [low, high] = voi.box, row = voi.row;
  position = [128, 128, row.key_slice_voi ?? row.long_axis_slice_voi ?? 64]
    .map((k, axis) => Math.min(Math.max(Math.round(k), 0), session.shape[axis] - 1));
  voi.opened = [...position];
  const sides = low.map((a, axis) => (high[axis] - a) * voi.spacing_mm[axis]);
  view = { side: Math.max(MARGIN * Math.max(...sides), LEAST_MM), centre: low.map((a, axis) => (a + high[axis]) / 2) };
  zoom = 1;
  history.replaceState(null, "", `#${encodeURIComponent(row.voi_id)}`);
  tell();
  await draw();
  if (mine !== asked) return;
  document.body.dataset.ready = String(number());
  prefetch();
}

function tell() {
  const count = { a: 0, r: 0, n: 0 };
  for (const letter of states) if (letter in count) count[letter] += 1;
  const judged = count.a + count.r, n = states.length;
  $("bar").max = n;
  $("bar").value = judged;
  $("counts").replaceChildren(strong(judged), ` of ${n} judged · `, strong(count.a), " accepted · ",
    strong(count.r), " rejected · ", strong(count.n), " noted");
  $("order").textContent = sorted ? `${sorted.descending ? "largest" : "smallest"} ${sorted.column} first` : "";
  if (!voi) return;
  const state = states[voi.number];
  $("judge").dataset.state = state;
  $("place").textContent = `${place + 1} of ${n}`;
  $("name").textContent = voi.row.voi_id;
  document.title = `${place + 1}/${n} ${voi.row.voi_id}`;
  $("verdict").textContent = WORDS[state];
  $("note").textContent = voi.verdict.note ? `“${voi.verdict.note}”` : "";
  $("why").replaceChildren(...voi.why.map((words) => element("li", words)));
  $("problems").replaceChildren(...voi.problems.map((words) => element("li", words)));
  for (const key of ["a", "r", "n"]) {
    document.querySelector(`button[data-key="${key}"]`).disabled = !voi.judgeable;
  }
  const first = FACTS.filter(([name]) => filled(voi.row[name]));
  if (sorted && !first.some(([name]) => name === sorted.column)) first.unshift([sorted.column, sorted.column]);
  $("main").replaceChildren(...first.map(([name, words]) => fact(name, words)), spacing(), flags());
  $("all").replaceChildren(...Object.keys(voi.row).filter((name) => filled(voi.row[name]))
    .map((name) => fact(name, name)));
}

const strong = (words) => element("b", words);

function fact(name, words) {
  const pair = document.createElement("div");
  if (sorted && name === sorted.column) pair.className = "sorted";
  pair.append(element("dt", words), element("dd", text(voi.row[name])));
  return pair;
}

function spacing() {
  const pair = document.createElement("div");
  const known = filled(voi.row.spacing_x_mm);
  pair.append(element("dt", "Spacing, mm"),
    element("dd", known ? voi.spacing_mm.map((mm) => mm.toFixed(2)).join(" × ") : "not known"));
  return pair;
}

function flags() {
  const pair = fact("qc_flags", "Flags");
  pair.className = "wide";
  return pair;
}

function text(value) {
  if (Array.isArray(value)) return value.map(text).join(", ") || "–";
  if (typeof value !== "number" || Number.isInteger(value)) return filled(value) ? String(value) : "–";
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

// Planes are drawn in mm: x and y of a picture run against their axes of the VOI.
function frame(p) {
  const [right, down, across] = session.planes[p], mm = voi.spacing_mm, n = session.shape;
  return { right, down, across, sx: mm[right], sy: mm[down], width: n[right], height: n[down],
    x: (index) => (n[right] - index) * mm[right], y: (index) => (n[down] - index) * mm[down] };
}

async function draw() {
  await Promise.all([0, 1, 2].map(drawPlane));
}

async function drawPlane(p) {
  const figure = document.querySelector(`figure[data-plane="${p}"]`);
  figure.classList.toggle("active", p === plane);
  if (!voi.has_image) {
    fill(figure, p, null);
    return;
  }
  const wanted = () => planeUrl(voi.number, p, position[session.planes[p][2]]);
  if (loading[p]) return loading[p];
  loading[p] = (async () => {
    // Of slices asked for faster than they come, the last one is drawn.
    while (shownSlice[p] !== wanted()) {
      const url = wanted(), picture = new Image();
      picture.src = url;
      try {
        await picture.decode();
      } catch {
        if (url === wanted()) throw new Error("a slice could not be loaded; is the server still there?");
        continue;
      }
      if (url === wanted()) shownSlice[p] = url;
    }
  })();
  try {
    await loading[p];
  } catch (error) {
    wrong(error);
    return;
  } finally {
    loading[p] = false;
  }
  fill(figure, p, shownSlice[p]);
}

function fill(figure, p, url) {
  const f = frame(p), side = view.side / zoom, k = position[f.across];
  const cx = f.x(view.centre[f.right]), cy = f.y(view.centre[f.down]);
  const svg = figure.querySelector("svg");
  svg.setAttribute("viewBox", `${cx - side / 2} ${cy - side / 2} ${side} ${side}`);
  const scaled = shape("g", { transform: `scale(${f.sx} ${f.sy})` });
  if (url) {
    scaled.append(shape("image", { href: url, width: f.width, height: f.height, preserveAspectRatio: "none" }));
  } else {
    scaled.append(shape("rect", { width: f.width, height: f.height, fill: "#2a2d31" }));
  }
  if (marks) {
    const path = voi.outlines[p][k];
    if (path) {
      scaled.append(shape("path", { d: path, fill: "none", stroke: "#56b4e9", "stroke-width": 1.8,
        "stroke-linecap": "square", "vector-effect": "non-scaling-stroke" }));
    }
  }
  const drawn = [scaled];
  if (marks && p === 0) drawn.push(...lines(f, k));
  if (marks) drawn.push(...ticks(f, cx, cy, side));
  svg.replaceChildren(...drawn);
  caption(figure, f, p, k, side);
}

function lines(f, k) {
  const row = voi.row, found = [];
  const line = (points, colour, dash) => {
    for (let at = 0; at + 3 < points.length; at += 4) {
      found.push(shape("line", {
        x1: f.x(points[at] + 0.5), y1: f.y(points[at + 1] + 0.5),
        x2: f.x(points[at + 2] + 0.5), y2: f.y(points[at + 3] + 0.5),
        stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash, "vector-effect": "non-scaling-stroke",
      }));
    }
  };
  if (row.recist_points_vox && k === row.key_slice_voi) line(row.recist_points_vox, "#ffdc3c", "none");
  else if (k === row.long_axis_slice_voi) {
    line(row.long_axis_points_vox ?? [], "#ffdc3c", "5 4");
    line(row.short_axis_points_vox ?? [], "#ffdc3c", "5 4");
  }
  return found;
}

// Where the other planes lie, at the edges: across the lesion they would hide it.
function ticks(f, cx, cy, side) {
  const x = f.x(position[f.right] + 0.5), y = f.y(position[f.down] + 0.5), far = side / 2, near = side * 0.46;
  return [[x, cy - far, x, cy - near], [x, cy + near, x, cy + far],
    [cx - far, y, cx - near, y], [cx + near, y, cx + far, y]].map(([x1, y1, x2, y2]) =>
    shape("line", { x1, y1, x2, y2, stroke: "#ff5c5c", "stroke-width": 1.5, "vector-effect": "non-scaling-stroke" }));
}

function caption(figure, f, p, k, side) {
  const [low, high] = session.windows_hu[window_];
  figure.querySelector("figcaption").textContent =
    `${PLANES[p]} ${k} of ${session.shape[f.across] - 1}`;
  figure.querySelector(".window").textContent =
    voi.has_image ? `level ${(low + high) / 2} width ${high - low}`.replace("-", "−") : "no image";
  figure.querySelector(".scale")?.remove();
  if (!filled(voi.row.spacing_x_mm)) return;
  const mm = [200, 100, 50, 20, 10, 5, 2, 1].find((length) => length < side / 3) ?? 1;
  const bar = element("div", "", "scale");
  bar.style.width = `${100 * mm / side}%`;
  bar.append(element("span", `${mm} mm`));
  figure.append(bar);
}

function prefetch() {
  const n = order[next(place)] ?? number();
  if (n !== number()) ask(`api/vois/${n}`).then((found) => {
    const z = found.row.key_slice_voi ?? found.row.long_axis_slice_voi ?? 64;
    [128, 128, z].forEach((k, axis) => {
      if (found.has_image) new Image().src = `slices/${session.run}/${n}/${axis}/${k}/${found.window}`;
    });
  }).catch(() => {});
}

// ---- moving ----------------------------------------------------------------------------------

const go = (at) => show((at + order.length) % order.length).catch(wrong);

// The next VOI that is not judged, from `from` on and round; `from` where there is none.
function next(from) {
  for (let step = 1; step <= order.length; step += 1) {
    const at = (from + step) % order.length;
    if (!"ar".includes(states[order[at]])) return at;
  }
  return from;
}

function nextOpen() {
  const at = next(place);
  if (at === place && "ar".includes(states[number()])) say("All VOIs are judged");
  else go(at);
}

function scroll(p, step) {
  const axis = session.planes[p][2];
  position[axis] = Math.min(Math.max(position[axis] + step, 0), session.shape[axis] - 1);
  plane = p;
  draw();
}

function point(event, p) {
  const f = frame(p), svg = event.currentTarget.querySelector("svg");
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const clamp = (value, axis) => Math.min(Math.max(Math.floor(value), 0), session.shape[axis] - 1);
  position[f.right] = clamp(session.shape[f.right] - at.x / f.sx, f.right);
  position[f.down] = clamp(session.shape[f.down] - at.y / f.sy, f.down);
  plane = p;
  draw();
}

function zoomBy(factor) {
  zoom = Math.min(Math.max(zoom * factor, 0.1), 8);
  draw();
}

// ---- judging ---------------------------------------------------------------------------------

async function judge(word, note) {
  if (busy || !seen()) return;
  busy = true;
  const mine = voi;
  try {
    const answer = await ask("api/verdicts", { number: mine.number, word, note });
    states = answer.states;
    mine.verdict.note = word === "none" ? "" : note ?? mine.verdict.note;
    tell();
    say(`${mine.row.voi_id}: ${word === "none" ? "verdict taken away" : WORDS[states[mine.number]]}`);
    if (word === "accepted" || word === "rejected") nextOpen();
  } catch (error) {
    wrong(error);
  } finally {
    busy = false;
  }
}

async function undo() {
  if (busy) return;
  busy = true;
  try {
    const answer = await ask("api/undo", {});
    states = answer.states;
    if (answer.number === null) say("taken back; it is not among the VOIs shown");
    else {
      await show(order.indexOf(answer.number));
      say(`${voi.row.voi_id}: taken back`);
    }
    tell();
  } catch (error) {
    wrong(error);
  } finally {
    busy = false;
  }
}

// Nothing is judged that is not on the screen yet.
function seen() {
  const ready = document.body.dataset.ready === String(number());
  if (!ready) say("Wait until the VOI is shown");
  return ready;
}

function note() {
  if (!voi.judgeable || !seen()) return;
  $("text").value = voi.verdict.note;
  $("noting").showModal();
  $("text").select();
}

function save() {
  const words = $("text").value.trim();
  $("noting").close();
  if (words || "ar".includes(states[voi.number])) judge(undefined, words);
  else if (voi.verdict.note) judge("none");
}

async function jump() {
  const column = $("column").value, descending = document.querySelector("[name=direction]:checked").value === "1";
  $("ordering").close();
  try {
    order = column ? await ask(`api/order/${column}?descending=${Number(descending)}`)
      : [...states].map((_, at) => at);
    sorted = column ? { column, descending } : null;
    await show(0);
  } catch (error) {
    wrong(error);
  }
}

// ---- keys ------------------------------------------------------------------------------------

const once = {
  a: () => voi.judgeable && judge("accepted"),
  r: () => voi.judgeable && judge("rejected"),
  n: note,
  u: undo,
  x: () => states[number()] !== "." && judge("none"),
  j: () => columns.then(() => $("ordering").showModal()).catch(wrong),
  "?": () => $("helping").showModal(),
  t: theme,
  " ": nextOpen,
  w: () => {
    const names = Object.keys(session.windows_hu);
    window_ = names[(names.indexOf(window_) + 1) % names.length];
    draw();
  },
  o: () => { marks = !marks; draw(); },
  Home: () => { position = [...voi.opened]; zoom = 1; draw(); },
  1: () => scroll(0, 0),
  2: () => scroll(1, 0),
  3: () => scroll(2, 0),
};
const held = {
  ArrowRight: () => go(place + 1),
  ArrowLeft: () => go(place - 1),
  ArrowUp: () => scroll(plane, 1),
  ArrowDown: () => scroll(plane, -1),
  PageUp: () => scroll(plane, 5),
  PageDown: () => scroll(plane, -5),
  "+": () => zoomBy(ZOOM),
  "=": () => zoomBy(ZOOM),
  "-": () => zoomBy(1 / ZOOM),
};

const press = onKeys(once, held, () => Boolean(voi));

function listen() {
  document.querySelectorAll("button[data-key]").forEach((button) => {
    button.addEventListener("click", () => { button.blur(); press(button.dataset.key); });
  });
  for (const [id, key] of [["jump", "j"], ["theme", "t"], ["help", "?"]]) {
    $(id).addEventListener("click", () => { $(id).blur(); press(key); });
  }
  $("save").addEventListener("click", save);
  $("go").addEventListener("click", jump);
  for (const [id, act] of [["noting", save], ["ordering", jump]]) {
    $(id).addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.value !== "cancel") { event.preventDefault(); act(); }
    });
  }
  document.querySelectorAll("figure").forEach((figure, p) => {
    LETTERS[p].forEach((letter, at) => {
      figure.append(element("span", letter, `letter ${["left", "right", "top", "bottom"][at]}`));
    });
    figure.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!voi) return;
      if (event.ctrlKey) { zoomBy(event.deltaY < 0 ? ZOOM : 1 / ZOOM); return; }
      // A notch of a wheel is a slice; a touchpad sends many small steps.
      wheel += event.deltaY;
      const steps = Math.trunc(wheel / 60);
      if (steps) { wheel -= steps * 60; scroll(p, -Math.sign(steps)); }
    }, { passive: false });
    figure.addEventListener("click", (event) => voi && point(event, p));
  });
}

async function start() {
  session = await ask("api/session");
  states = session.states;
  order = [...states].map((_, at) => at);
  columns = ask("api/columns").then((names) => {
    $("column").replaceChildren(...[["as the command listed them", ""], ...names.map((name) => [name, name])]
      .map(([words, name]) => new Option(words, name)));
  });
  $("overlay").textContent = session.overlay;
  $("author").textContent = session.author;
  listKeys(KEYS);
  listen();
  const named = await ask(`api/names?voi_id=${location.hash.slice(1)}`);
  await show(named ?? next(order.length - 1));
}

start().catch(wrong);
