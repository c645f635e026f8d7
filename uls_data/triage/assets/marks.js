// What is drawn over a slice: outlines of layers, a reader's lines, where the other planes lie, rulers.

import { filled, shape } from "./common.js";

const MOST_JOINS = 500, joins = new Map();
const LINES = "#ffdc3c", PLACE = "#ff5c5c", RULER = "#7dffb0";

const stroke = (name, colour, width, more) => shape(name, {
  fill: "none", stroke: colour, "stroke-width": width, "vector-effect": "non-scaling-stroke", ...more,
});

export function draw(planes, p, { f, mm, x, y, width, height }) {
  const k = planes.position[f.across], drawn = [];
  if (planes.marks) {
    const scaled = shape("g", { transform: `scale(${f.sx} ${f.sy})` });
    planes.layers.forEach((layer, at) => {
      const path = layer.shown && layer.outlines[p][k];
      if (!path) return;
      const more = layer.judged ? { d: path, "stroke-linecap": "square" }
        // Dashes let equal outlines be seen through each other.
        : { d: joined(path), "stroke-dasharray": "9 5", "stroke-dashoffset": 5 * at };
      scaled.append(stroke("path", layer.colour, 2, more));
    });
    drawn.push(scaled);
    if (p === 0) drawn.push(...lines(planes, f, k));
    drawn.push(...ticks(planes, f, x, y, width * mm, height * mm));
  }
  for (const ruler of planes.rulers) if (ruler.p === p && ruler.k === k && ruler.end) drawn.push(...measured(planes, ruler, f, mm));
  return drawn;
}

// Edges end to end, so that dashes run along the whole outline.
function joined(path) {
  if (joins.has(path)) return joins.get(path);
  const next = new Map();
  const link = (from, to) => (next.get(from) ?? next.set(from, []).get(from)).push(to);
  for (const [, x, y, way, length] of path.matchAll(/M(-?\d+) (-?\d+)([hv])(\d+)/g)) {
    const from = `${x} ${y}`;
    const to = way === "h" ? `${Number(x) + Number(length)} ${y}` : `${x} ${Number(y) + Number(length)}`;
    link(from, to);
    link(to, from);
  }
  let made = "";
  for (const start of next.keys()) {
    for (let at = start, to = next.get(at).pop(); to; to = next.get(at).pop()) {
      made += at === start ? `M${start}L${to}` : `L${to}`;
      const back = next.get(to);
      back.splice(back.indexOf(at), 1);
      at = to;
    }
  }
  if (joins.size > MOST_JOINS) joins.clear();
  joins.set(path, made);
  return made;
}

function lines(planes, f, k) {
  const { row } = planes.voi, found = [];
  const line = (points, dash) => {
    for (let at = 0; at + 3 < points.length; at += 4) {
      found.push(stroke("line", LINES, 1.8, {
        x1: f.x(points[at] + 0.5), y1: f.y(points[at + 1] + 0.5),
        x2: f.x(points[at + 2] + 0.5), y2: f.y(points[at + 3] + 0.5), "stroke-dasharray": dash,
      }));
    }
  };
  if (row.recist_points_vox && k === row.key_slice_voi) line(row.recist_points_vox, "none");
  else if (k === row.long_axis_slice_voi) {
    line(row.long_axis_points_vox ?? [], "5 4");
    line(row.short_axis_points_vox ?? [], "5 4");
  }
  return found;
}

// At the edges: across the lesion they would hide it.
function ticks(planes, f, left, top, width, height) {
  const x = f.x(planes.position[f.right] + 0.5), y = f.y(planes.position[f.down] + 0.5);
  const long = 0.04 * Math.min(width, height);
  return [[x, top, x, top + long], [x, top + height - long, x, top + height],
    [left, y, left + long, y], [left + width - long, y, left + width, y]].map(([x1, y1, x2, y2]) =>
    stroke("line", PLACE, 1.5, { x1, y1, x2, y2 }));
}

function measured(planes, { start, end }, f, mm) {
  const x1 = f.x(start[f.right]), y1 = f.y(start[f.down]), x2 = f.x(end[f.right]), y2 = f.y(end[f.down]);
  const known = filled(planes.voi.row.spacing_x_mm);
  const length = `${Math.hypot(x2 - x1, y2 - y1).toFixed(1)} ${known ? "mm" : "px"}`;
  const words = shape("text", {
    x: (x1 + x2) / 2 + 6 * mm, y: (y1 + y2) / 2 - 6 * mm, fill: RULER, stroke: "#000", "stroke-width": 3 * mm,
    "paint-order": "stroke", "font-size": 14 * mm,
  });
  words.textContent = length;
  return [stroke("line", RULER, 2, { x1, y1, x2, y2 }), words];
}
