// What the wall and the single view share: verdicts, the order in which VOIs are shown, who listens.

import { ask } from "./common.js";

export const desk = {
  session: null, states: [], reasons: new Map(),
  // Hashes of the masks that VOIs were edited to.
  edited: {},
  // Numbers of the VOIs that the filter shows, in their order, and the place of the one looked at.
  order: [], place: 0, view: "single",
  query: { where: "", sort: "", descending: false, show: "all" },
};

export const WORDS = {
  ".": "not judged", a: "accepted", r: "rejected", n: "noted", f: "noted", s: "judged on another mask",
};
const JUDGED = "arf";
const listeners = {};
let last = Promise.resolve();

export const on = (name, act) => { (listeners[name] ??= []).push(act); };
export const tell = (name) => { for (const act of listeners[name] ?? []) act(); };
export const isJudged = (number) => JUDGED.includes(desk.states[number]);
export const judgedIn = (numbers) => numbers.reduce((count, number) => count + isJudged(number), 0);
export const wordsOf = (number) => desk.reasons.get(number) ?? WORDS[desk.states[number]];

export function meets(number, show) {
  const state = desk.states[number];
  if (show === "all") return true;
  if (show === "open") return !isJudged(number);
  if (show.startsWith("reason:")) return desk.reasons.get(number) === show.slice(7);
  return WORDS[state] === show;
}

export function take({ states, reasons, edited }) {
  desk.states = [...states];
  desk.edited = edited;
  desk.reasons = new Map(Object.entries(reasons).map(([number, reason]) => [Number(number), reason]));
}

// One after the other: a key that is pressed while a verdict is on its way waits for it.
function change(path, body) {
  const mine = last.then(() => send(path, body));
  last = mine.catch(() => {});
  return mine;
}

async function send(path, body) {
  const answer = await ask(path, body);
  for (const [number, state, reason] of answer.changed) {
    desk.states[number] = state;
    if (reason) desk.reasons.set(number, reason);
    else desk.reasons.delete(number);
  }
  if (answer.reload) take(await ask("api/states"));
  tell("verdicts");
  return answer;
}

// What changed, and what could not be judged.
export const judge = (numbers, word, note, reason) => change("api/verdicts", { numbers, word, note, reason });
export const undo = () => change("api/undo", {});
// Of a curator; as built where that is empty.
export const takeMask = (number, curator) => change("api/masks", { number, take: curator });

// The next VOI that is not judged, from place `from` on and round; `from` where there is none.
export function nextOpen(from) {
  const { order } = desk;
  for (let step = 1; step <= order.length; step += 1) {
    const at = (from + step) % order.length;
    if (!isJudged(order[at])) return at;
  }
  return from;
}

export function told(answer, what) {
  const refused = answer.refused.length
    ? `; ${answer.refused.length} cannot be judged: ${answer.refused[0][1]}` : "";
  return `${what}${refused}`;
}
