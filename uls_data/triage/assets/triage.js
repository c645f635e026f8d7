// The curator's desk: a wall of VOIs, and one of them at a time. Text from the manifest goes into the
// page as text only.

import { $, ask, element, listKeys, say, theme, wrong } from "./common.js";
import { desk, isJudged, judge, nextOpen, on, take, told, undo } from "./desk.js";
import * as filter from "./filter.js";
import * as layers from "./layers.js";
import * as planes from "./planes.js";
import * as single from "./single.js";
import * as wall from "./wall.js";

const PLAIN = [
  { key: "a", verdict: "accepted", reason: "", words: "Accept" },
  { key: "r", verdict: "rejected", reason: "", words: "Reject" },
];
const KEYS = [
  ["n", "note: one line, which stays with a later verdict"], ["u", "undo the last step"],
  ["x", "remove the verdict"], ["g", "wall, single view"], ["/", "filter"], ["j", "order"],
  ["t", "light or dark"], ["?", "this help"],
  ["", "On the wall"],
  ["arrows", "move; with Shift select along the way"], ["click", "select; with Ctrl one more, with Shift a range"],
  ["Ctrl+a", "select all that are shown"], ["space", "select or deselect"], ["Enter", "open; also a double click"],
  ["+ −", "size"], ["1 2 3", "plane"],
  ["", "In the single view"],
  ["→ ←", "next, previous VOI"], ["space", "next VOI without a verdict"],
  ["↑ ↓", "slice; also the wheel, and PgUp PgDn by five"], ["1 2 3", "which plane the arrows scroll"],
  ["e", "edit the mask"], ["f", "one plane large"], ["click", "bring the other planes there"],
  ["drag", "level (up, down) and width (left, right); with Shift pan"], ["m", "ruler; Backspace removes one"],
  ["w", "next window"], ["o", "outlines and lines on or off"],
  ["c", "all layers, or the judged one alone"], ["4 … 9", "one layer on or off"], ["+ −", "zoom; also the wheel with Ctrl"],
  ["Home", "back to how the VOI opened"], ["Esc", "back to the wall"],
];
let verdicts = [], busy = false;

const targets = () => (desk.view === "wall" ? [...wall.wall.selected] : [single.number()]);

const vois = (count) => `${count} ${count === 1 ? "VOI" : "VOIs"}`;

function progress() {
  const count = { a: 0, r: 0, n: 0, f: 0 };
  for (const letter of desk.states) if (letter in count) count[letter] += 1;
  const judged = count.a + count.r + count.f, n = desk.states.length;
  const strong = (words) => element("b", words);
  $("bar").max = n;
  $("bar").value = judged;
  $("counts").replaceChildren(strong(judged), ` of ${n} judged · `, strong(count.a), " accepted · ",
    strong(count.r), " rejected · ", strong(count.n + count.f), " noted");
}

function order() {
  const { sort, descending } = desk.query;
  $("order").textContent = sort ? `${descending ? "largest" : "smallest"} ${sort} first` : "";
}

function selection() {
  const count = wall.wall.selected.size;
  $("selected").textContent = count ? `${count} selected` : "None selected";
}

// ---- views -----------------------------------------------------------------------------------

function look(view) {
  if (desk.view === "wall" && view !== "wall") wall.leave();
  desk.view = view;
  document.body.dataset.view = view;
  $("wall").hidden = view !== "wall";
  $("single").hidden = view !== "single";
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === view);
  }
}

function toWall() {
  look("wall");
  history.replaceState(null, "", "#wall");
  document.title = "Triage";
  wall.enter();
}

function toSingle(place = desk.place) {
  look("single");
  document.activeElement?.blur();
  return single.show(place).catch(wrong);
}

function openChosen() {
  toSingle(wall.wall.active);
}

// ---- judging ---------------------------------------------------------------------------------

async function give(word, note, reason) {
  const numbers = targets(), onWall = desk.view === "wall";
  if (!numbers.length) { say("Select VOIs first"); return; }
  // Twice the same key on one VOI is one verdict, and the next VOI is not judged unseen.
  if (!onWall && (busy || !single.seen())) return;
  busy = !onWall;
  try {
    const answer = await judge(numbers, word, note, reason);
    if (!onWall) single.given(word, note);
    else {
      const words = word === "none" ? "verdict removed" : reason || word || "noted";
      say(told(answer, `${vois(answer.changed.length)}: ${words}`), answer.refused.length > 0);
    }
  } catch (error) {
    wrong(error);
  } finally {
    busy = false;
  }
}

async function takeBack() {
  try {
    const answer = await undo();
    const numbers = answer.changed.map(([number]) => number);
    const place = desk.order.indexOf(numbers[0]);
    if (desk.view === "wall" || numbers.length !== 1) say(`${vois(numbers.length)}: undone`);
    else if (place < 0) say("undone; it is not among the VOIs shown");
    else {
      await single.show(place);
      say(`${planes.planes.voi.row.voi_id}: undone`);
    }
  } catch (error) {
    wrong(error);
  }
}

function note() {
  if (desk.view === "single" ? !single.seen() : !wall.wall.selected.size) return;
  $("text").value = desk.view === "single" ? planes.planes.voi.note : "";
  $("noting").showModal();
  $("text").select();
}

function save() {
  const words = $("text").value.trim();
  $("noting").close();
  if (desk.view === "wall") { if (words) give(undefined, words); return; }
  if (words || isJudged(single.number())) give(undefined, words);
  else if (planes.planes.voi.note) give("none");
}

// ---- keys ------------------------------------------------------------------------------------

const both = {
  n: note, u: takeBack, t: theme,
  x: () => give("none"),
  g: () => (desk.view === "wall" ? toSingle() : toWall()),
  "/": () => $("where").focus(),
  j: () => $("sort").focus(),
  "?": () => $("helping").showModal(),
};
const alone = {
  " ": single.goNextOpen,
  Escape: toWall,
  e: () => { if (single.seen()) location.href = `/edit${single.fragment(planes.planes.voi.row)}`; },
  f: () => planes.enlarge(),
  m: () => planes.setTool("ruler"),
  Backspace: () => { planes.planes.rulers.pop(); planes.draw(); },
  ...planes.once,
  c: layers.toggleAll,
  ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((at) => [at + 4, () => layers.toggle(at)])),
};
const held = {
  ArrowRight: () => single.go(desk.place + 1),
  ArrowLeft: () => single.go(desk.place - 1),
  ...planes.held,
};

function press(key, repeated = false) {
  const verdict = verdicts.find((one) => one.key === key);
  const act = verdict ? () => give(verdict.verdict, undefined, verdict.reason)
    : both[key] ?? (desk.view === "single" ? alone[key] : undefined);
  const again = desk.view === "single" ? held[key] : undefined;
  if (again) again();
  else if (act && !repeated) act();
  return Boolean(act ?? again);
}

function onKey(event) {
  const { target } = event;
  if (document.querySelector("dialog[open]")) return;
  if (target.matches("input, select, textarea")) {
    if (event.key === "Escape") { target.blur(); if (desk.view === "wall") $("grid").focus(); }
    return;
  }
  // Enter and space on a button press it.
  if (target.matches("button, summary") && (event.key === "Enter" || event.key === " ")) return;
  if (desk.view === "wall" && wall.pressed(event)) { event.preventDefault(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (press(event.key.length === 1 ? event.key.toLowerCase() : event.key, event.repeat)) event.preventDefault();
}

function verdictButtons() {
  verdicts = [...PLAIN, ...desk.session.keys.map((one) => ({ ...one, words: one.reason }))];
  for (const place of [$("verdicts"), $("bulk-verdicts")]) {
    place.replaceChildren(...verdicts.map(({ key, verdict, words }) => {
      const button = element("button", words, verdict === "rejected" ? "reject" : verdict === "accepted" ? "accept" : "");
      button.type = "button";
      button.dataset.key = key;
      button.append(" ", element("kbd", key));
      return button;
    }));
  }
}

function listen() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const key = event.target.closest("button[data-key]")?.dataset.key;
    if (!key) return;
    event.target.closest("button").blur();
    press(key);
    if (desk.view === "wall") $("grid").focus({ preventScroll: true });
  });
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => (button.dataset.view === "wall" ? toWall() : toSingle()));
  }
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => { button.blur(); planes.setTool(button.dataset.tool); });
  }
  $("select-all").addEventListener("click", wall.selectAll);
  $("select-none").addEventListener("click", wall.selectNone);
  $("save").addEventListener("click", save);
  $("noting").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.value !== "cancel") { event.preventDefault(); save(); }
  });
  addEventListener("hashchange", () => { follow().catch(wrong); });
  on("verdicts", progress);
  on("selection", selection);
  on("order", () => { order(); if (desk.view === "single") toSingle(); });
  on("open", openChosen);
  on("taken", () => single.show(desk.place).catch(wrong));
  wall.listen();
  planes.listen();
}

// ---- addresses -------------------------------------------------------------------------------

// `#wall`, or a VOI, see `single.named`.
async function follow() {
  const hash = location.hash.slice(1);
  if (hash === "wall") { toWall(); return; }
  let place = nextOpen(desk.order.length - 1);
  if (hash) {
    const { voi_id, layer, found } = await single.named(hash);
    layers.name(layer);
    if (found === null) say(`${voi_id} is not among the masks shown`, true);
    else {
      if (!desk.order.includes(found)) await filter.clear();
      place = desk.order.indexOf(found);
    }
  }
  await toSingle(place);
}

async function start() {
  desk.session = await ask("api/session");
  take(desk.session);
  desk.order = desk.states.map((_, at) => at);
  $("overlay").textContent = desk.session.overlay;
  $("author").textContent = desk.session.author;
  verdictButtons();
  // Who adjudicates compares the masks first.
  if (desk.session.curators.length) {
    document.body.classList.add("adjudicates");
    $("judge").before($("layers"));
  }
  listKeys([...verdicts.map(({ key, verdict, reason }) => [key, reason ? `${reason}: ${verdict}` : verdict]), ...KEYS]);
  listen();
  progress();
  selection();
  filter.listen();
  await follow();
}

start().catch(wrong);
