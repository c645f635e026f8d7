// What the manifest says about a VOI. Text from it goes into the page as text only.

import { $, element, filled } from "./common.js";
import { desk } from "./desk.js";

const FACTS = [
  ["lesion_type", "Type"], ["layer", "Layer"], ["supervision", "Supervision"], ["source", "Source"],
  ["case_id", "Case"], ["lesion_index", "Lesion"], ["long_axis_mm", "Long axis, mm"],
  ["short_axis_mm", "Short axis, mm"], ["volume_mm3", "Volume, mm³"], ["predicted_dice", "Predicted Dice"],
  ["uncertainty", "Disagreement"], ["recist_long_vox", "Reader's long axis, px"],
  ["recist_short_vox", "Reader's short axis, px"], ["key_slice_long_error_vox", "Long axis off, px"],
  ["key_slice_short_error_vox", "Short axis off, px"], ["agreement_level", "Readers who agree"],
  ["patient_sex", "Sex"], ["patient_age_years", "Age"],
];

function text(value) {
  if (Array.isArray(value)) return value.map(text).join(", ") || "–";
  if (typeof value !== "number" || Number.isInteger(value)) return filled(value) ? String(value) : "–";
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function pair(words, value, kind) {
  const made = element("div", "", kind);
  made.append(element("dt", words), element("dd", value));
  return made;
}

export function show(voi) {
  const { row } = voi, sorted = desk.query.sort;
  const fact = (name, words) => pair(words, text(row[name]), name === sorted ? "sorted" : "");
  const first = FACTS.filter(([name]) => filled(row[name]));
  if (sorted && !first.some(([name]) => name === sorted)) first.unshift([sorted, sorted]);
  const spacing = filled(row.spacing_x_mm) ? voi.spacing_mm.map((mm) => mm.toFixed(2)).join(" × ") : "not known";
  $("main").replaceChildren(...first.map(([name, words]) => fact(name, words)), pair("Spacing, mm", spacing),
    pair("Flags", text(row.qc_flags), "wide"));
  $("all").replaceChildren(...Object.keys(row).filter((name) => filled(row[name])).map((name) => fact(name, name)));
}
