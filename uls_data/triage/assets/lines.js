// Two lines on a slice: their lengths, what is strange about them, and how they are drawn. Points are
// column and row, pixel centres at whole numbers; pictures are in mm from the slice's corner.

import { shape } from "./common.js";

export const GRIP_PX = 7;
const COLOURS = ["#ffdc3c", "#5fe3f0"];
const SHARPEST_DEGREES = 70;
const THIN = { "vector-effect": "non-scaling-stroke", fill: "none" };

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const mm = ([column, row], [x, y]) => [(column + 0.5) * x, (row + 0.5) * y];

export const length = (a, b, spacing) => Math.hypot((b[0] - a[0]) * spacing[0], (b[1] - a[1]) * spacing[1]);

// Words for what readers seldom mean, of the four points of two lines.
export function strange(points, spacing) {
  const [a, b, c, d] = points.map((point) => mm(point, spacing)), found = [];
  const [ux, uy, vx, vy] = [b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]];
  const turned = ux * vy - uy * vx, wx = c[0] - a[0], wy = c[1] - a[1];
  const shares = [(wx * vy - wy * vx) / turned, (wx * uy - wy * ux) / turned];
  if (!shares.every((share) => share >= 0 && share <= 1)) found.push("The lines do not cross.");
  const sine = Math.min(Math.abs(turned) / (Math.hypot(ux, uy) * Math.hypot(vx, vy)), 1);
  const angle = Math.asin(sine) * 180 / Math.PI;
  if (angle < SHARPEST_DEGREES) found.push(`The lines are ${angle.toFixed(0)}° apart, not at right angles.`);
  return found;
}

// Lines with their lengths, one that is begun among them (`shown`), and rings to drag their ends by.
export function marksOf(points, shown, spacing, mmPerPx) {
  const made = [];
  const edged = (name, attributes, colour) => {
    made.push(shape(name, { ...attributes, ...THIN, stroke: "#000", "stroke-width": 3.8, "stroke-opacity": 0.5 }),
      shape(name, { ...attributes, ...THIN, stroke: colour, "stroke-width": 1.8 }));
  };
  for (let k = 0; k + 1 < shown.length; k += 2) {
    const [[x1, y1], [x2, y2]] = [mm(shown[k], spacing), mm(shown[k + 1], spacing)];
    edged("line", { x1, y1, x2, y2 }, COLOURS[k / 2]);
    const words = shape("text", { x: Math.max(x1, x2) + 8 * mmPerPx, y: (x1 > x2 ? y1 : y2) - 5 * mmPerPx,
      fill: COLOURS[k / 2], "font-size": 14 * mmPerPx, stroke: "#000", "stroke-width": 3 * mmPerPx, "paint-order": "stroke" });
    words.textContent = `${length(shown[k], shown[k + 1], spacing).toFixed(1)} mm`;
    made.push(words);
  }
  points.forEach((point, k) => {
    const [cx, cy] = mm(point, spacing);
    edged("circle", { cx, cy, r: 4 * mmPerPx }, COLOURS[k < 2 ? 0 : 1]);
    made.push(shape("circle", { cx, cy, r: GRIP_PX * mmPerPx, fill: "transparent", class: "grip" }));
  });
  return made;
}
