// All masks of the VOI that is looked at: colours, which are shown, what they share.

import { $, ask, element, say, wrong } from "./common.js";
import { desk, takeMask, tell as tellAll } from "./desk.js";
import { draw, planes } from "./planes.js";

// Colours that people who see fewer of them can tell apart (Okabe and Ito), the judged mask first.
const COLOURS = ["#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#f0e442", "#d55e00", "#8f7be8", "#ffffff"];
// Layers that were switched on or off stay so from one VOI to the next.
const chosen = new Map();
let named = "", told = false;

// Who adjudicates wants to see what the curators made; the mask that was built only after an edit.
const isShown = (one) => chosen.get(nameOf(one)) ?? (one.judged || Boolean(one.offered) || one.layer === named);
// A curator may be called like a layer.
const nameOf = ({ layer, offered }) => (offered ? `${layer} (curator)` : layer);

// An address may name a layer that is not the judged one.
export const name = (layer) => { named = layer; };

export function first(voi) {
  const { layer } = voi.row;
  planes.layers = [{ layer, judged: true, outlines: voi.outlines, colour: COLOURS[0], shown: chosen.get(layer) ?? true }];
  $("layers").classList.add("stale");
}

// Curators keep their colours, whatever else is there.
function coloursOf(layers) {
  const { curators } = desk.session;
  let next = curators.length + 1;
  return layers.map(({ judged, offered }) => {
    const at = judged ? 0 : offered ? 1 + curators.indexOf(offered) : next;
    if (!judged && !offered) next += 1;
    return COLOURS[at % COLOURS.length];
  });
}

// Asked for once the VOI is on the screen.
export async function load(voi) {
  let found;
  try {
    found = await ask(`api/vois/${voi.number}/layers`);
  } catch (error) {
    if (voi !== planes.voi) return;
    $("layers").hidden = true;
    wrong(error);
    return;
  }
  if (voi !== planes.voi) return;
  $("layers").classList.remove("stale");
  $("layers").hidden = !found.layers.length;
  if (!found.layers.length) return;
  const colours = coloursOf(found.layers);
  planes.layers = found.layers.map((layer, at) => ({ ...layer, colour: colours[at], shown: isShown(layer) }));
  tell(found.dice);
  await draw();
}

export function toggle(at, shown = !planes.layers[at]?.shown) {
  const layer = planes.layers[at];
  if (!layer) return;
  layer.shown = shown;
  chosen.set(nameOf(layer), shown);
  const box = document.querySelector(`#layer-list input[data-at="${at}"]`);
  if (box) box.checked = shown;
  draw();
}

export function toggleAll() {
  const on = !planes.layers.every(({ shown }) => shown);
  planes.layers.forEach((_, at) => toggle(at, on || at === 0));
}

function tell(dice) {
  const { layers } = planes;
  $("layer-list").replaceChildren(...layers.map((layer, at) => line(layer, at, dice[0][at])));
  const head = document.createElement("tr");
  head.append(element("td", ""), ...layers.map((_, at) => element("th", String(at + 1))));
  $("dice").replaceChildren(head, ...layers.map((layer, at) => {
    const row = document.createElement("tr");
    row.append(element("th", `${at + 1} ${layer.layer}`), ...dice[at].map((value, other) =>
      element("td", at === other ? "" : value === null ? "–" : value.toFixed(2))));
    return row;
  }));
  $("dice-of").hidden = layers.length < 3;
  if (!told && desk.session.curators.length) $("dice-of").open = true;
  told = true;
}

function line(layer, at, dice) {
  const made = document.createElement("li"), label = document.createElement("label");
  const box = document.createElement("input"), swatch = element("i", "");
  box.type = "checkbox";
  box.checked = layer.shown;
  box.dataset.at = at;
  if (at < 6) box.setAttribute("aria-keyshortcuts", String(at + 4));
  box.addEventListener("change", () => { toggle(at, box.checked); box.blur(); });
  // Not an attribute `style`, which the page's policy refuses.
  swatch.style.background = layer.colour;
  const words = layer.problem || [
    layer.judged ? "judged" : dice === null ? "" : `Dice ${dice.toFixed(2)}`,
    `${(layer.volume_mm3 / 1000).toPrecision(3)} ml`, layer.annotator === layer.layer ? "" : layer.annotator ?? "",
  ].filter(Boolean).join(" · ");
  label.append(box, swatch, element("b", layer.layer), element("span", words, layer.problem ? "problem" : ""));
  made.append(label);
  if (at < 6) made.append(element("kbd", String(at + 4)));
  if (layer.offered !== null) made.append(taking(layer));
  return made;
}

// A button that puts a mask in the place of the judged one.
function taking({ layer, offered }) {
  const made = element("button", "Take"), { voi } = planes;
  made.type = "button";
  made.title = "Put this mask in the place of the judged one";
  made.setAttribute("aria-label", `Take the mask of ${layer}`);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await takeMask(voi.number, offered);
      tellAll("taken");
      say(`${voi.row.voi_id}: the mask of ${layer} is judged now`);
    } catch (error) {
      made.disabled = false;
      wrong(error);
    }
  });
  return made;
}
