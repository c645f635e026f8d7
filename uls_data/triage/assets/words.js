// What the page for drawing says.

export const WORDS = { ".": "to draw", d: "drawn", s: "skipped" };
export const REASONS = {
  not_found: "Not found on these slices", no_lesion: "Found, but not a lesion",
  not_measurable: "Cannot be measured", other_scan: "Wrong series or patient",
};
export const NEXT = [
  "Click one end of the long axis.", "Click its other end.",
  "Now one end of the short axis.", "And its other end.",
];
export const KEYS = [
  ["click", "end of a line: long axis first, then short"], ["drag", "an end moves it; elsewhere the picture"],
  ["u", "undo: the last point, else what was saved last"], ["c", "clear the lines of this lesion"],
  ["x", "skip, and say why"], ["space", "next lesion without lines"], ["→ ←", "next, previous lesion"],
  ["↑ ↓", "slice; also the wheel, and PgUp PgDn by five"], ["Home", "back to the whole key slice"],
  ["w", "window: lung, soft tissue or bone"], ["+ −", "zoom; also the wheel with Ctrl"],
  ["o", "lines on or off"], ["t", "light or dark"], ["? Esc", "show or close this help"],
];

export function stated([long, short]) {
  if (long === null) return `short axis ${short} mm`;
  return short === null ? `${long} mm` : `${long} × ${short} mm`;
}
