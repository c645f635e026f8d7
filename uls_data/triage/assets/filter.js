// Which VOIs are shown, and in which order: a query, a state, a column, and views that are kept.

import { $, ask, say, wrong } from "./common.js";
import { desk, judgedIn, meets, on, tell } from "./desk.js";

const SHOWS = [
  ["all", "all"], ["open", "not judged"], ["accepted", "accepted"], ["rejected", "rejected"],
  ["noted", "noted"], ["judged on another mask", "judged on another mask"],
];
let asked = 0, views = [];

const written = () => ({
  where: $("where").value.trim(), sort: $("sort").value,
  descending: $("descending").getAttribute("aria-pressed") === "true", show: $("show").value,
});

function write(query) {
  $("where").value = query.where;
  if (![...$("sort").options].some((option) => option.value === query.sort)) $("sort").add(new Option(query.sort));
  $("sort").value = query.sort;
  $("show").value = query.show;
  if (!$("show").value) $("show").value = "all";
  direction(query.descending);
}

function direction(descending) {
  $("descending").setAttribute("aria-pressed", descending);
  $("descending").textContent = descending ? "Largest first" : "Smallest first";
}

// Shows the VOIs of a query; false where the server does not take it, which the page then says.
async function apply(query = written()) {
  const mine = ++asked;
  const asking = new URLSearchParams({ where: query.where, descending: Number(query.descending) });
  if (query.sort) asking.set("sort", query.sort);
  let found;
  try {
    found = await ask(`api/found?${asking}`);
  } catch (error) {
    if (mine === asked) problem(error.message);
    return false;
  }
  if (mine !== asked) return false;
  const order = found.numbers.filter((number) => meets(number, query.show));
  if (!order.length) {
    problem(found.hints.join("; ") || "No VOI meets this; what was shown before is still shown.", true);
    return false;
  }
  problem(found.hints.join("; "), true);
  // Who orders in the single view wants to see the first; the wall keeps its place.
  const looked = desk.view === "wall" ? desk.order[desk.place] : order[0];
  desk.query = query;
  desk.order = order;
  desk.place = Math.max(0, order.indexOf(looked));
  tell("order");
  count();
  return true;
}

function problem(words, mild = false) {
  $("problem").textContent = words;
  $("problem").className = mild ? "" : "wrong";
  $("where").setAttribute("aria-invalid", Boolean(words) && !mild);
}

export function clear() {
  $("views").value = "";
  write({ where: "", sort: "", descending: false, show: "all" });
  return apply();
}

function count() {
  const { order, states } = desk;
  $("shown").textContent = order.length === states.length ? ""
    : `${judgedIn(order)} of ${order.length} shown judged`;
}

// ---- views -----------------------------------------------------------------------------------

async function askViews() {
  const chosen = $("views").value;
  views = await ask("api/views");
  const first = new Option(views.length ? "Views…" : "No view saved", "");
  $("views").replaceChildren(first, ...views.map(({ name, count: all, judged }) =>
    new Option(`${name} (${judged} of ${all} judged)`, name)));
  $("views").disabled = !views.length;
  if (views.some(({ name }) => name === chosen)) $("views").value = chosen;
}

async function save() {
  const name = $("view-name").value.trim();
  if (!name) return;
  $("saving").close();
  try {
    await ask("api/views", { save: { name, ...desk.query } });
    await askViews();
    $("views").value = name;
    say(`View “${name}” is saved`);
  } catch (error) {
    wrong(error);
  }
}

async function forget() {
  const name = $("view-name").value.trim();
  $("saving").close();
  try {
    await ask("api/views", { remove: name });
    await askViews();
    say(`View “${name}” is removed`);
  } catch (error) {
    wrong(error);
  }
}

export function listen() {
  const reasons = desk.session.keys.map(({ reason }) => [`reason:${reason}`, `reason: ${reason}`]);
  $("show").replaceChildren(...[...SHOWS, ...reasons].map(([value, words]) => new Option(words, value)));
  $("filter").addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  for (const id of ["sort", "show"]) $(id).addEventListener("change", () => apply());
  $("descending").addEventListener("click", () => { direction(!written().descending); if (written().sort) apply(); });
  $("clear").addEventListener("click", clear);
  $("where").addEventListener("input", () => { if (!$("where").value) problem(""); });
  // Not when the list opens: it would change under the hand.
  $("views").addEventListener("pointerenter", () => askViews().catch(wrong));
  $("views").addEventListener("change", () => {
    const view = views.find(({ name }) => name === $("views").value);
    if (!view) return;
    write(view);
    apply(written());
  });
  $("save-view").addEventListener("click", () => { $("view-name").value = $("views").value; $("saving").showModal(); });
  $("saving").querySelector("form").addEventListener("submit", (event) => {
    if (event.submitter?.value === "save") { event.preventDefault(); save(); }
  });
  $("saving").querySelector("[data-close]").addEventListener("click", () => $("saving").close());
  $("forget-view").addEventListener("click", forget);
  on("verdicts", count);
  $("sort").replaceChildren(new Option("as listed", ""));
  $("views").replaceChildren(new Option("Views…", ""));
  // What the first view does not need comes after it.
  let started = false;
  on("ready", () => {
    if (!started) askColumns().then(askViews).catch(wrong);
    started = true;
  });
}

async function askColumns() {
  for (const name of await ask("api/columns")) {
    if (![...$("sort").options].some((option) => option.value === name)) $("sort").add(new Option(name));
  }
}
