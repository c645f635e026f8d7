// The mask of one VOI is edited, and saved as a correction. Text from the manifest goes into the page as
// text only.

import * as strokes from "./brush.js";
import { $, ask, element, filled, listKeys, onKeys, say, theme, wrong } from "./common.js";
import { desk } from "./desk.js";
import * as masks from "./masks.js";
import * as planes from "./planes.js";
import { fragment, named } from "./single.js";

const TOOLS = { b: "paint", e: "erase", k: "component", v: "look" };
const AS_OPENED = "#ffdc3c";
const MEASURED = [
  ["mask_voxels", "Voxels"], ["volume_mm3", "Volume, mm³"], ["long_axis_mm", "Long axis, mm"],
  ["short_axis_mm", "Short axis, mm"], ["long_axis_vox", "Long axis, px"], ["short_axis_vox", "Short axis, px"],
  ["long_axis_slice_voi", "Slice of the long axis"],
];
const KEYS = [
  ["b e", "paint, erase; the right button erases too"], ["[ ]", "smaller, larger brush"],
  ["k", "keep the part that you click, and remove the rest"], ["v", "look: drag for the window, click to bring the other planes"],
  ["h", "fill holes"], ["g", "grow by a pixel"], ["c", "shrink by a pixel"],
  ["a", "these three: all slices of the plane, or the one shown"], ["u y", "undo, redo"],
  ["0", "back to the mask of the manifest; it can be undone"], ["s", "save, with a reason"],
  ["↑ ↓", "slice; also the wheel, and PgUp PgDn by five"], ["1 2 3", "which plane is large"],
  ["Shift", "with drag: move the picture"], ["+ −", "zoom; also the wheel with Ctrl"], ["Home", "back to how the VOI opened"],
  ["w", "next window"], ["o", "mask and lines on or off"], ["t", "light or dark"], ["Esc", "back to triage"], ["?", "this help"],
];
let session, opened, measured, voi;
let done = [], again = [], saved = null, voxels = 0, all = true, busy = false;

const edit = { mask: null, allowed: null, done: take, keep };
const state = planes.planes;
const dirty = () => (done.at(-1) ?? null) !== saved;

// ---- what was done ---------------------------------------------------------------------------

function take(words, changed) {
  if (changed.length) {
    // A stroke may cross a voxel once only: it sets, and does not turn round.
    const step = { words, changed };
    done.push(step);
    again = [];
    count(changed);
    say(`${words}: ${changed.length} voxels`);
  }
  tell();
  planes.draw();
}

function count(changed) {
  for (const at of changed) voxels += edit.mask[at] ? 1 : -1;
}

function turn(from, to, words) {
  const step = from.pop();
  if (!step) { say(`Nothing to ${words}`); return; }
  voxels += masks.flip(edit.mask, step.changed);
  to.push(step);
  say(`${words}: ${step.words}, ${step.changed.length} voxels`);
  tell();
  planes.draw();
}

const only = () => (all ? null : state.position[axes()[2]]);
const axes = () => session.planes[state.plane];

function whole(words, act) {
  const where = all ? "" : " in this slice";
  const changed = act(edit.mask, session.shape, axes(), only(), edit.allowed);
  if (changed.length) take(`${words}${where}`, changed);
  else say(`Nothing to change${where}`);
}

function keep(at) {
  const changed = at < 0 ? null : masks.keepComponent(edit.mask, session.shape, at, opened.parts);
  if (changed) take("other parts removed", changed);
  if (!changed || !changed.length) say(changed ? "There is no other part" : "Click on the mask");
}

async function original() {
  try {
    const { runs } = await ask(`api/masks/${opened.number}/original`);
    const changed = masks.difference(edit.mask, masks.decode(runs, edit.mask.length));
    masks.flip(edit.mask, changed);
    if (changed.length) take("back to the mask of the manifest", changed);
    else say("This is the mask of the manifest");
  } catch (error) {
    wrong(error);
  }
}

// ---- what is said ----------------------------------------------------------------------------

function problem() {
  const [nx, ny] = session.shape, [x, y, z] = opened.centre;
  if (!voxels) return "The mask is empty. To leave the lesion out, reject it in triage.";
  if (!edit.mask[x + nx * (y + ny * z)]) return "The click (the middle of the VOI) is not in the mask.";
  return "";
}

function tell() {
  const mm3 = voi.spacing_mm.reduce((product, mm) => product * mm, 1);
  const known = filled(voi.row.spacing_x_mm);
  $("now").textContent = known ? `${voxels} voxels, ${(voxels * mm3).toFixed(0)} mm³` : `${voxels} voxels`;
  $("steps").textContent = dirty() ? `Not saved: ${done.length} ${done.length === 1 ? "step" : "steps"}`
    : saved ? "Saved" : opened.edits ? "Edited before, as shown" : "Not edited yet";
  $("steps").dataset.dirty = dirty();
  $("steps").dataset.saved = !dirty() && saved !== null;
  $("problem").textContent = problem();
  $("save").disabled = !dirty() || Boolean(problem()) || busy;
  for (const button of document.querySelectorAll("[data-edit]")) {
    button.setAttribute("aria-pressed", button.dataset.edit === strokes.brush.tool);
  }
  $("planes").dataset.edit = strokes.brush.tool;
  $("size").value = strokes.brush.size;
  $("width").textContent = `${strokes.SIZES[strokes.brush.size]} px`
    + (known ? `, ${strokes.widthMm()} mm` : "");
  $("scope").querySelector("span").textContent = all ? "All slices" : "This slice";
}

const shown = (value) => (!filled(value) ? "–" : Number.isInteger(value) ? String(value) : value.toFixed(1));

function compare(after) {
  $("measured").replaceChildren(...MEASURED.filter(([name]) => filled(measured[name]) || filled(after?.[name])).map(([name, words]) => {
    const row = element("tr", "");
    row.append(element("th", words), element("td", shown(measured[name])), element("td", after ? shown(after[name]) : ""));
    return row;
  }));
}

// ---- saving ----------------------------------------------------------------------------------

function ready() {
  if (!dirty()) { say("Nothing to save"); return; }
  if (problem()) { say(problem(), true); return; }
  $("refused").textContent = "";
  $("reasoning").showModal();
  $("reason").select();
}

async function save() {
  const reason = $("reason").value.trim();
  if (busy) return;
  if (!reason) { $("refused").textContent = "Say in a few words what was wrong."; return; }
  busy = true;
  const top = done.at(-1) ?? null;
  try {
    const answer = await ask("api/edits", {
      number: opened.number, before: opened.sha256, runs: masks.encode(edit.mask), reason, full: $("full").checked,
    });
    opened.sha256 = answer.sha256;
    saved = top;
    compare(answer.measured);
    $("reasoning").close();
    const also = answer.verdict_removed ? " The verdict on the previous mask was removed." : "";
    say(`Saved in ${answer.overlay}.${also}`);
    document.body.dataset.saved = answer.sha256;
  } catch (error) {
    $("refused").textContent = error.message;
  } finally {
    busy = false;
    tell();
  }
}

// ---- keys ------------------------------------------------------------------------------------

function tool(name) {
  strokes.brush.tool = name;
  tell();
  planes.draw();
}

function wider(step) {
  strokes.brush.size = Math.min(Math.max(strokes.brush.size + step, 0), strokes.SIZES.length - 1);
  tell();
  planes.draw();
}

const leave = () => { location.href = `/${fragment(voi.row)}`; };

const once = {
  ...Object.fromEntries(Object.entries(TOOLS).map(([key, name]) => [key, () => tool(name)])),
  h: () => whole("holes filled", masks.fillHoles),
  a: () => { all = !all; tell(); },
  0: original,
  s: ready,
  t: theme,
  Escape: leave,
  "?": () => $("helping").showModal(),
  ...planes.once,
};
const held = {
  g: () => whole("grown", masks.grow),
  c: () => whole("shrunk", masks.shrink),
  u: () => turn(done, again, "undo"),
  y: () => turn(again, done, "redo"),
  "[": () => wider(-1),
  "]": () => wider(1),
  ...planes.held,
};

function listen() {
  const press = onKeys(once, held, () => Boolean(edit.mask));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-key]");
    if (!button) return;
    button.blur();
    press(button.dataset.key);
  });
  $("size").addEventListener("input", () => { strokes.brush.size = Number($("size").value); tell(); planes.draw(); });
  $("keep").addEventListener("click", save);
  $("reasoning").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.value !== "cancel") { event.preventDefault(); save(); }
  });
  addEventListener("beforeunload", (event) => { if (dirty()) event.preventDefault(); });
  addEventListener("hashchange", () => location.reload());
  strokes.listen(edit);
  planes.listen();
}

async function start() {
  session = desk.session = await ask("api/session");
  desk.view = "single";
  const { voi_id, found: number } = await named(location.hash.slice(1));
  if (number === null) throw new Error(`${voi_id || "no VOI"} is not among the masks shown`);
  [voi, opened] = await Promise.all([ask(`api/vois/${number}`), ask(`api/masks/${number}`)]);
  $("name").textContent = voi.row.voi_id;
  $("layer").textContent = `${voi.row.layer}, ${opened.supervision}`;
  document.title = `Edit ${voi.row.voi_id}`;
  $("overlay").textContent = opened.overlay;
  $("author").textContent = opened.author;
  $("only-full").hidden = !opened.asks_full;
  edit.mask = masks.decode(opened.runs, session.shape.reduce((product, n) => product * n, 1));
  voxels = edit.mask.reduce((sum, value) => sum + value, 0);
  edit.allowed = [[0, 1, 2].map((axis) => voi.row[`pad_before_${"xyz"[axis]}_vox`] ?? 0),
    session.shape.map((n, axis) => n - (voi.row[`pad_after_${"xyz"[axis]}_vox`] ?? 0))];
  measured = opened.measured;
  compare(null);
  state.layers = [{ outlines: voi.outlines, colour: AS_OPENED, shown: true }];
  state.over = (context, p, b) => strokes.over(context, p, b, edit.mask);
  listKeys(KEYS);
  listen();
  planes.load(voi);
  planes.enlarge(true);
  tell();
  await planes.draw();
  document.body.dataset.ready = String(number);
}

start().catch((error) => { $("problem").textContent = error.message; wrong(error); });
