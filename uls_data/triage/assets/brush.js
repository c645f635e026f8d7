// The pointer on a slice: painting, erasing, and the component at a click.

import { desk } from "./desk.js";
import * as masks from "./masks.js";
import { draw, figures, indexAt, planes } from "./planes.js";

export const SIZES = [1, 2, 3, 5, 7, 9, 13, 19, 27, 39];
export const brush = { tool: "paint", size: 3, at: null };

const radiusMm = () => SIZES[brush.size] / 2 * Math.min(...planes.voi.spacing_mm.slice(0, 2));

const voxel = (index) => {
  const [nx, ny] = desk.session.shape, [x, y, z] = index.map(Math.floor);
  return x + nx * (y + ny * z);
};
const inside = (index) => index.every((k, axis) => k >= 0 && k < desk.session.shape[axis]);

function pressed(p, event, edit) {
  const erase = event.button === 2 || brush.tool === "erase";
  if (!planes.voi || !edit.mask || event.button === 1 || event.shiftKey) return;
  if (brush.tool === "look" && event.button !== 2) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  planes.plane = p;
  if (brush.tool === "component" && event.button === 0) {
    const index = indexAt(p, event);
    edit.keep(inside(index) ? voxel(index) : -1);
    return;
  }
  const figure = figures[p], changed = [], axes = desk.session.planes[p];
  let before = indexAt(p, event);
  figure.setPointerCapture(event.pointerId);
  const dab = (index) => {
    const found = masks.disc(edit.mask, desk.session.shape, axes, planes.voi.spacing_mm, index, radiusMm(), erase ? 0 : 1, edit.allowed);
    for (const at of found) changed.push(at);
  };
  const move = (now) => {
    for (const one of now.getCoalescedEvents?.() ?? [now]) {
      const index = indexAt(p, one);
      const far = Math.hypot(...axes.slice(0, 2).map((axis) => index[axis] - before[axis]));
      // Half a voxel at a time, so that a fast stroke has no gaps.
      const count = Math.max(Math.ceil(far * 2), 1), from = before;
      for (let n = 1; n <= count; n += 1) dab(index.map((k, axis) => from[axis] + (k - from[axis]) * n / count));
      before = index;
    }
    draw();
  };
  const end = () => {
    figure.removeEventListener("pointermove", move);
    figure.removeEventListener("pointerup", end);
    figure.removeEventListener("pointercancel", end);
    edit.done(erase ? "erased" : "painted", changed);
  };
  figure.addEventListener("pointermove", move);
  figure.addEventListener("pointerup", end);
  figure.addEventListener("pointercancel", end);
  dab(before);
  draw();
}

// The mask on a slice: filled, with its edges; and the brush.
export function over(context, p, { f, mm }, mask) {
  const [nx, ny] = desk.session.shape, step = [1, nx, nx * ny];
  if (planes.marks) {
    const k = planes.position[f.across], base = k * step[f.across];
    const on = (x, y) => x >= 0 && y >= 0 && x < f.width && y < f.height
      && mask[base + (f.width - 1 - x) * step[f.right] + (f.height - 1 - y) * step[f.down]] === 1;
    const edges = new Path2D(), area = new Path2D();
    for (let y = 0; y < f.height; y += 1) {
      let begin = -1;
      for (let x = 0; x <= f.width; x += 1) {
        const here = on(x, y);
        if (here && begin < 0) begin = x;
        if (!here && begin >= 0) {
          area.rect(begin * f.sx, y * f.sy, (x - begin) * f.sx, f.sy);
          begin = -1;
        }
        if (here !== on(x - 1, y)) { edges.moveTo(x * f.sx, y * f.sy); edges.lineTo(x * f.sx, (y + 1) * f.sy); }
        if (here !== on(x, y - 1)) { edges.moveTo(x * f.sx, y * f.sy); edges.lineTo((x + 1) * f.sx, y * f.sy); }
      }
    }
    context.fillStyle = "rgb(86 180 233 / 22%)";
    context.fill(area);
    context.strokeStyle = "#56b4e9";
    context.lineWidth = 1.8 * mm;
    context.stroke(edges);
  }
  if (brush.at && brush.at.p === p && (brush.tool === "paint" || brush.tool === "erase")) {
    context.beginPath();
    context.arc(f.x(brush.at.index[f.right]), f.y(brush.at.index[f.down]), Math.max(radiusMm(), 0.5 * f.sx), 0, 2 * Math.PI);
    context.strokeStyle = brush.tool === "erase" ? "#ff8f86" : "#fff";
    context.lineWidth = 1.5 * mm;
    context.stroke();
  }
}

// `edit`: the mask, the box that may be painted, and what is told of a stroke (`done`) or a click (`keep`).
export function listen(edit) {
  figures.forEach((figure, p) => {
    figure.addEventListener("pointerdown", (event) => pressed(p, event, edit), { capture: true });
    figure.addEventListener("contextmenu", (event) => event.preventDefault());
    figure.addEventListener("pointermove", (event) => {
      if (!planes.voi) return;
      brush.at = { p, index: indexAt(p, event) };
      draw();
    });
    figure.addEventListener("pointerleave", () => { brush.at = null; draw(); });
  });
}

// What a brush is wide, in mm.
export const widthMm = () => (2 * radiusMm()).toFixed(1);
