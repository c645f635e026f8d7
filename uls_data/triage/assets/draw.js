// One lesion at a time, on its key slice as it is stored: two clicks for the long axis, two for the
// short one. Points are column and row of the slice, pixel centres at whole numbers.

import { $, ask, element, listKeys, onKeys, putLetters, say, scaleBar, shape, theme, wrong } from "./common.js";
import { GRIP_PX, clamp, length, marksOf, strange } from "./lines.js";
import { KEYS, NEXT, REASONS, WORDS, stated } from "./words.js";

const ZOOM = 1.25, CLICK_PX = 5;
let session, states, number = 0, lesion = null, asked = 0;
let at = 0, points = [], drawnOn = null, cursor = null;
let view = null, window_, marks = true, wheel = 0, pressed = null, loading = false, shownUrl = null;
let saving = Promise.resolve();

const figure = () => $("slice");
const url = () => `slices/${session.run}/${number}/${at}/${window_}`;
const ready = () => document.body.dataset.ready === String(number);

// ---- geometry --------------------------------------------------------------------------------

const long = (a, b) => length(a, b, lesion.spacing_mm);

// The four points, the one at the pointer among them while a line is begun.
const shownPoints = () => (points.length % 2 && cursor && at === drawnOn ? [...points, cursor] : points);

function pointAt(event) {
  const svg = figure().querySelector("svg");
  const it = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [it.x, it.y].map((value, axis) =>
    clamp(value / lesion.spacing_mm[axis] - 0.5, 0, lesion.shape[axis] - 1));
}

const mmPerPx = () => view.side / figure().clientWidth;

function whole() {
  const [x, y] = [0, 1].map((axis) => lesion.shape[axis] * lesion.spacing_mm[axis]);
  view = { x: x / 2, y: y / 2, side: Math.max(x, y), most: Math.max(x, y) };
}

// ---- showing ---------------------------------------------------------------------------------

async function show(n) {
  await saving;
  const mine = ++asked;
  number = n;
  document.body.dataset.ready = "";
  $("next").textContent = "Loading the series…";
  const found = await ask(`api/lesions/${n}`);
  if (mine !== asked) return;
  lesion = found;
  window_ = lesion.window;
  points = lesion.drawn ? lesion.drawn.points : [];
  drawnOn = lesion.drawn ? lesion.drawn.slice : null;
  cursor = null;
  history.replaceState(null, "", `#${lesion.name}`);
  if (lesion.shape) {
    at = drawnOn ?? lesion.key_slice;
    whole();
    putLetters(figure(), lesion.letters);
  }
  tell();
  await draw();
  if (mine !== asked) return;
  document.body.dataset.ready = String(number);
  prefetch();
}

function tell() {
  const count = { ".": 0, d: 0, s: 0 };
  for (const letter of states) count[letter] += 1;
  $("bar").max = states.length;
  $("bar").value = count.d + count.s;
  $("counts").replaceChildren(element("b", count.d + count.s), ` of ${states.length} done · `,
    element("b", count.d), " drawn · ", element("b", count.s), " skipped");
  if (!lesion) return;
  const state = states[number];
  $("judge").dataset.state = state;
  $("name").textContent = lesion.row.case_id;
  document.title = `${number + 1}/${states.length} ${lesion.row.case_id}`;
  $("place").textContent = `${number + 1} of ${states.length}`;
  $("state").textContent = state === "s" ? `skipped: ${lesion.skipped.replaceAll("_", " ")}` : WORDS[state];
  const kind = lesion.row.lesion_type ?? "unknown";
  $("asked").textContent = `The report says: ${stated(lesion.stated_mm)}` +
    (["unknown", "various"].includes(kind) ? "" : `, ${kind.replaceAll("_", " ")}`);
  $("problem").textContent = lesion.problem ?? "";
  measure();
}

// Lengths of what is drawn beside those of the report, and what is strange about the lines.
function measure() {
  const now = shownPoints(), warnings = [];
  let found = [0, 2].map((k) => (now.length > k + 1 ? long(now[k], now[k + 1]) : null));
  // The longer line is the long axis, whichever was drawn first.
  if (points.length === 4 && found[1] > found[0]) found = found.reverse();
  ["long", "short"].forEach((name, k) => {
    const cells = $(name).querySelectorAll("td"), told = lesion.stated_mm[k], drawn = found[k];
    const off = told !== null && drawn !== null ? drawn - told : null;
    const much = off !== null && Math.abs(off) > Math.max(session.most_mm, session.most_share * told);
    cells[0].textContent = told === null ? "–" : `${told} mm`;
    cells[1].textContent = drawn === null ? "–" : `${drawn.toFixed(1)} mm`;
    cells[2].textContent = off === null ? "" : `${off < 0 ? "−" : "+"}${Math.abs(100 * off / told).toFixed(0)} %`;
    $(name).classList.toggle("much", much && points.length > 2 * k + 1);
    if (much && points.length > 2 * k + 1) warnings.push(`The ${name} axis differs much from the report.`);
  });
  if (points.length === 4) warnings.push(...strange(points, lesion.spacing_mm));
  $("warnings").replaceChildren(...warnings.map((words) => element("li", words)));
  const other = points.length && at !== drawnOn ? `The lines are on slice ${drawnOn}.` : "";
  $("next").textContent = !lesion.shape ? "" : other || NEXT[points.length] ||
    (states[number] === "d" ? "Saved. Drag an end to adjust it; press space to continue." : "");
}

// Of slices asked for faster than they come, the last one is drawn.
async function draw() {
  if (!lesion.shape) {
    figure().querySelector("svg").replaceChildren();
    return;
  }
  if (loading) {
    await loading;
    return;
  }
  loading = (async () => {
    while (shownUrl !== url()) {
      const wanted = url(), picture = new Image();
      picture.src = wanted;
      try {
        await picture.decode();
      } catch {
        if (wanted === url()) throw new Error("a slice could not be loaded; is the server still there?");
        continue;
      }
      if (wanted === url()) shownUrl = wanted;
    }
  })();
  try {
    await loading;
  } catch (error) {
    wrong(error);
    return;
  } finally {
    loading = false;
  }
  fill();
}

function fill() {
  if (!lesion?.shape || !shownUrl) return;
  const svg = figure().querySelector("svg"), [columns, rows] = lesion.shape, [sx, sy] = lesion.spacing_mm;
  svg.setAttribute("viewBox", `${view.x - view.side / 2} ${view.y - view.side / 2} ${view.side} ${view.side}`);
  const picture = shape("g", { transform: `scale(${sx} ${sy})` });
  picture.append(shape("image", { href: shownUrl, width: columns, height: rows, preserveAspectRatio: "none" }));
  const drawn = marks && at === drawnOn ? marksOf(points, shownPoints(), lesion.spacing_mm, mmPerPx()) : [];
  svg.replaceChildren(picture, ...drawn);
  figure().classList.toggle("far", points.length > 0 && at !== drawnOn);
  const [low, high] = session.windows_hu[window_], last = lesion.shape[2] - 1;
  figure().querySelector("figcaption").textContent =
    `Slice ${at} of ${last}${at === lesion.key_slice ? " · key slice" : ""}`;
  figure().querySelector(".window").textContent = `level ${(low + high) / 2} width ${high - low}`.replace("-", "−");
  const place = (k) => `${last ? 100 - 100 * k / last : 50}%`;
  $("here").style.top = place(at);
  $("key").style.top = place(lesion.key_slice);
  scaleBar(figure(), view.side);
}

function prefetch() {
  const picture = (n, k, window) => { new Image().src = `slices/${session.run}/${n}/${k}/${window}`; };
  for (const step of [1, -1, 2, -2]) {
    if (lesion.shape && at + step >= 0 && at + step < lesion.shape[2]) picture(number, at + step, window_);
  }
  const n = next(number);
  if (n !== number) ask(`api/lesions/${n}`).then((found) => {
    if (found.shape) picture(n, found.drawn?.slice ?? found.key_slice, found.window);
  }).catch(() => {});
}

// ---- moving ----------------------------------------------------------------------------------

const go = (n) => show((n + states.length) % states.length).catch(wrong);

function next(from) {
  for (let step = 1; step <= states.length; step += 1) {
    if (states[(from + step) % states.length] === ".") return (from + step) % states.length;
  }
  return from;
}

function nextOpen() {
  const n = next(number);
  if (n === number && states[number] !== ".") say("All lesions are drawn or skipped");
  else go(n);
}

function scroll(step) {
  if (!lesion.shape) return;
  at = clamp(at + step, 0, lesion.shape[2] - 1);
  measure();
  draw().then(prefetch);
}

// Zoom about a point of the figure, by its share of the sides.
function zoomBy(factor, x = 0.5, y = 0.5) {
  if (!view) return;
  const side = clamp(view.side / factor, 10, view.most);
  view.x += (x - 0.5) * (view.side - side);
  view.y += (y - 0.5) * (view.side - side);
  view.side = side;
  fill();
}

// ---- drawing ---------------------------------------------------------------------------------

function down(event) {
  if (event.button > 2 || !lesion?.shape || !ready()) return;
  const here = pointAt(event), near = GRIP_PX * mmPerPx() * 1.5;
  const grip = at === drawnOn && marks ? points.findIndex((point) => long(point, here) < near) : -1;
  pressed = { x: event.clientX, y: event.clientY, grip: points.length === 4 && event.button === 0 ? grip : -1,
    view: { ...view }, moved: false, button: event.button };
  figure().setPointerCapture(event.pointerId);
}

function move(event) {
  if (!lesion?.shape) return;
  if (!pressed) {
    cursor = pointAt(event);
    if (points.length % 2) { measure(); fill(); }
    return;
  }
  const [dx, dy] = [event.clientX - pressed.x, event.clientY - pressed.y];
  pressed.moved ||= Math.hypot(dx, dy) >= CLICK_PX;
  if (!pressed.moved) return;
  if (pressed.grip >= 0) {
    points = points.map((point, k) => (k === pressed.grip ? pointAt(event) : point));
    measure();
  } else {
    figure().classList.add("panning");
    view.x = pressed.view.x - dx * mmPerPx();
    view.y = pressed.view.y - dy * mmPerPx();
  }
  fill();
}

function up(event) {
  const was = pressed;
  pressed = null;
  figure().classList.remove("panning");
  if (!was || !lesion?.shape) return;
  if (was.moved) {
    if (was.grip >= 0) save();
  } else if (was.button === 0) {
    put(pointAt(event));
  }
}

function put(point) {
  if (points.length === 4) {
    say(at === drawnOn ? "Drag an end to adjust it, or press c to clear the lines" : `The lines are on slice ${drawnOn}; press c to clear them`);
    return;
  }
  if (points.length && at !== drawnOn) {
    say(`Continue on slice ${drawnOn}, where the first point is, or press u to take it back`);
    return;
  }
  drawnOn = at;
  points = [...points, point];
  cursor = point;
  measure();
  fill();
  if (points.length === 4) save();
}

function save() {
  const mine = number, body = { number, slice: drawnOn, points };
  saving = ask("api/lines", body).then((answer) => {
    states = answer.states;
    if (mine !== number) return;
    lesion.skipped = "";
    say("Lines saved");
    tell();
  }).catch(wrong);
}

async function change(path, body, words) {
  await saving;
  try {
    const answer = await ask(path, body);
    states = answer.states;
    say(words);
    if (answer.number !== null) await show(answer.number);
    tell();
  } catch (error) {
    wrong(error);
  }
}

async function undo() {
  await saving;
  if (points.length && (points.length < 4 || states[number] !== "d")) {
    points = points.slice(0, -1);
    if (!points.length) drawnOn = null;
    measure();
    fill();
    return;
  }
  change("api/undo", {}, "Taken back");
}

function clear() {
  if (states[number] !== ".") { change("api/clear", { number }, "Cleared"); return; }
  points = [];
  drawnOn = null;
  measure();
  fill();
}

function skip(reason) {
  $("skipping").close();
  change("api/skips", { number, reason }, `Skipped: ${reason.replaceAll("_", " ")}`).then(() => {
    if (states[number] === "s") nextOpen();
  });
}

// ---- keys ------------------------------------------------------------------------------------

const once = {
  u: undo,
  c: clear,
  x: () => ready() && $("skipping").showModal(),
  " ": nextOpen,
  w: () => {
    const names = Object.keys(session.windows_hu);
    window_ = names[(names.indexOf(window_) + 1) % names.length];
    draw();
  },
  o: () => { marks = !marks; fill(); },
  t: theme,
  "?": () => $("helping").showModal(),
  Home: () => { if (lesion.shape) { at = lesion.key_slice; whole(); measure(); draw(); } },
};
const held = {
  ArrowRight: () => go(number + 1),
  ArrowLeft: () => go(number - 1),
  ArrowUp: () => scroll(1),
  ArrowDown: () => scroll(-1),
  PageUp: () => scroll(5),
  PageDown: () => scroll(-5),
  "+": () => zoomBy(ZOOM),
  "=": () => zoomBy(ZOOM),
  "-": () => zoomBy(1 / ZOOM),
};
const press = onKeys(once, held, () => Boolean(lesion));

function listen() {
  document.querySelectorAll("button[data-key]").forEach((button) => {
    button.addEventListener("click", () => { button.blur(); press(button.dataset.key); });
  });
  $("reasons").replaceChildren(...session.reasons.map((reason, k) => {
    const button = element("button", REASONS[reason]);
    button.type = "button";
    button.dataset.reason = reason;
    button.append(element("kbd", k + 1));
    button.addEventListener("click", () => skip(reason));
    return button;
  }));
  $("skipping").addEventListener("keydown", (event) => {
    const reason = session.reasons[Number(event.key) - 1];
    if (reason) { event.preventDefault(); skip(reason); }
  });
  const it = figure();
  for (const [name, act] of [["pointerdown", down], ["pointermove", move], ["pointerup", up]]) it.addEventListener(name, act);
  it.addEventListener("contextmenu", (event) => event.preventDefault());
  it.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!lesion?.shape) return;
    if (event.ctrlKey) {
      const box = it.getBoundingClientRect();
      zoomBy(event.deltaY < 0 ? ZOOM : 1 / ZOOM, (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
      return;
    }
    // A notch of a wheel is a slice; a touchpad sends many small steps.
    wheel += event.deltaY;
    const steps = Math.trunc(wheel / 60);
    if (steps) { wheel -= steps * 60; scroll(-Math.sign(steps)); }
  }, { passive: false });
  addEventListener("resize", fill);
}

async function start() {
  session = await ask("api/session");
  states = session.states;
  $("lines").textContent = session.lines;
  $("reader").textContent = session.reader;
  listKeys(KEYS);
  listen();
  await show(next(states.length - 1));
}

start().catch(wrong);
