// One VOI at a time.

import { $, ask, element, say, wrong } from "./common.js";
import { desk, isJudged, nextOpen, on, tell as tellAll, WORDS, wordsOf } from "./desk.js";
import * as facts from "./facts.js";
import * as layers from "./layers.js";
import { draw, load, planes, prefetch } from "./planes.js";

let asked = 0;

export const number = () => desk.order[desk.place];
export const fragment = (row) => `#${[row.source, row.voi_id, row.layer].map(encodeURIComponent).join("/")}`;

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    // Somebody typed a % as it is.
    return part;
  }
}

// The VOI of an address: `source/voi_id/layer`, of which the last may be left out, or `voi_id`.
export async function named(hash) {
  const parts = hash.split("/").map(decoded);
  const [source, voi_id, layer = ""] = parts.length === 1 ? ["", ...parts] : parts;
  return { voi_id, layer, found: await ask(`api/names?${new URLSearchParams({ source, voi_id })}`) };
}

export async function show(place) {
  desk.place = place;
  const mine = ++asked;
  document.body.dataset.ready = "";
  const voi = await ask(`api/vois/${number()}`);
  if (mine !== asked) return;
  layers.first(voi);
  load(voi);
  history.replaceState(null, "", fragment(voi.row));
  facts.show(voi);
  tell();
  await draw();
  if (mine !== asked) return;
  document.body.dataset.ready = String(number());
  tellAll("ready");
  layers.load(voi);
  const next = desk.order[nextOpen(place)];
  if (next !== number()) ask(`api/vois/${next}`).then(prefetch).catch(() => {});
}

// The verdict on the VOI shown.
export function tell() {
  const { voi } = planes;
  if (!voi || desk.view !== "single") return;
  const state = desk.states[voi.number], reason = desk.reasons.get(voi.number);
  $("judge").dataset.state = state;
  $("place").textContent = `${desk.place + 1} of ${desk.order.length}`;
  $("name").textContent = voi.row.voi_id;
  document.title = `${desk.place + 1}/${desk.order.length} ${voi.row.voi_id}`;
  $("verdict").textContent = reason ? `${WORDS[state]}: ${reason}` : WORDS[state];
  $("note").textContent = voi.note ? `“${voi.note}”` : "";
  $("why").replaceChildren(...voi.why.map((words) => element("li", words)));
  $("problems").replaceChildren(...voi.problems.map((words) => element("li", words)));
  for (const button of document.querySelectorAll("#verdicts button")) button.disabled = !voi.judgeable;
}

export const go = (place) => show((place + desk.order.length) % desk.order.length).catch(wrong);

export function goNextOpen() {
  const at = nextOpen(desk.place);
  if (at === desk.place && isJudged(number())) say("All VOIs are judged");
  else go(at);
}

// Nothing is judged that is not on the screen yet.
export function seen() {
  const ready = document.body.dataset.ready === String(number());
  if (!ready) say("Wait until the VOI is shown");
  return ready && planes.voi.judgeable;
}

// After a verdict that was given here: what was noted, and the next VOI.
export function given(word, note) {
  const { voi } = planes;
  voi.note = word === "none" ? "" : note ?? voi.note;
  tell();
  say(`${voi.row.voi_id}: ${word === "none" ? "verdict removed" : wordsOf(voi.number)}`);
  if (word !== undefined && word !== "none" && isJudged(voi.number)) goNextOpen();
}

on("verdicts", tell);
