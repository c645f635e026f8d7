// A mask as one byte for each voxel of the VOI, and what can be done to it. Each operation changes the
// mask and returns the voxels that it changed, which undoes it when they are turned round again.

// Runs of voxels, off and on in turn, x fastest; the first is off.
export function decode(runs, count) {
  const mask = new Uint8Array(count);
  let at = 0;
  runs.forEach((length, n) => {
    if (n % 2) mask.fill(1, at, at + length);
    at += length;
  });
  return mask;
}

export function encode(mask) {
  const runs = [];
  let begin = 0, value = 0;
  for (;;) {
    const end = mask.indexOf(1 - value, begin);
    if (end < 0) break;
    runs.push(end - begin);
    begin = end;
    value = 1 - value;
  }
  if (value) runs.push(mask.length - begin);
  return runs;
}

export function flip(mask, changed) {
  let sum = 0;
  for (const at of changed) {
    mask[at] ^= 1;
    sum += mask[at] ? 1 : -1;
  }
  return sum;
}

// Box that just holds the mask, [low, high), or null.
function boxOf(mask, [nx, ny]) {
  const first = mask.indexOf(1);
  if (first < 0) return null;
  const slice = nx * ny, last = mask.lastIndexOf(1);
  const low = [nx, ny, Math.floor(first / slice)], high = [0, 0, Math.floor(last / slice) + 1];
  for (let row = Math.floor(first / nx); row <= Math.floor(last / nx); row += 1) {
    const begin = row * nx, left = mask.subarray(begin, begin + nx).indexOf(1);
    if (left < 0) continue;
    const right = mask.subarray(begin, begin + nx).lastIndexOf(1), y = row % ny;
    low[0] = Math.min(low[0], left);
    high[0] = Math.max(high[0], right + 1);
    low[1] = Math.min(low[1], y);
    high[1] = Math.max(high[1], y + 1);
  }
  return [low, high];
}

const steps = ([nx, ny]) => [1, nx, nx * ny];

// A disc in a slice; its radius is in mm, and it has at least the voxel that it is around.
export function disc(mask, shape, [right, down], mm, index, radius, value, allowed) {
  const step = steps(shape), [low, high] = allowed, changed = [];
  const middle = index.map(Math.floor);
  const reach = [right, down].map((axis) => Math.ceil(radius / mm[axis]));
  const base = middle.reduce((sum, k, axis) => sum + k * step[axis], 0);
  const fits = (axis, k) => k >= low[axis] && k < high[axis];
  if (![0, 1, 2].every((axis) => axis === right || axis === down || fits(axis, middle[axis]))) return changed;
  for (let b = -reach[1]; b <= reach[1]; b += 1) {
    if (!fits(down, middle[down] + b)) continue;
    const y = (middle[down] + b + 0.5 - index[down]) * mm[down];
    for (let a = -reach[0]; a <= reach[0]; a += 1) {
      if (!fits(right, middle[right] + a)) continue;
      const x = (middle[right] + a + 0.5 - index[right]) * mm[right];
      if ((a || b) && x * x + y * y > radius * radius) continue;
      const at = base + a * step[right] + b * step[down];
      if (mask[at] !== value) { mask[at] = value; changed.push(at); }
    }
  }
  return changed;
}

// Slices of a plane that hold some of the mask, or the one given.
function* slicesOf(mask, shape, [right, down, across], only) {
  const box = boxOf(mask, shape);
  if (!box) return;
  const [low, high] = box;
  const from = only === null ? low[across] : Math.max(only, low[across]);
  const to = only === null ? high[across] : Math.min(only + 1, high[across]);
  for (let k = from; k < to; k += 1) yield [k, low[right], high[right], low[down], high[down]];
}

// Turns on what the mask encloses in a slice.
export function fillHoles(mask, shape, axes, only) {
  const step = steps(shape), [right, down, across] = axes, changed = [];
  for (const [k, x0, x1, y0, y1] of slicesOf(mask, shape, axes, only)) {
    // Around the mask lies a ring to start from, and around that a wall.
    const width = x1 - x0 + 4, height = y1 - y0 + 4, plane = new Uint8Array(width * height);
    const at = (x, y) => k * step[across] + (x0 + x - 2) * step[right] + (y0 + y - 2) * step[down];
    plane.fill(1, 0, width);
    plane.fill(1, width * (height - 1));
    for (let y = 1; y < height - 1; y += 1) {
      plane[y * width] = plane[y * width + width - 1] = 1;
      if (y < 2 || y > height - 3) continue;
      for (let x = 2; x < width - 2; x += 1) plane[y * width + x] = mask[at(x, y)];
    }
    const open = [width + 1];
    plane[width + 1] = 1;
    while (open.length) {
      const one = open.pop();
      for (let way = 0; way < 4; way += 1) {
        const next = one + (way === 0 ? 1 : way === 1 ? -1 : way === 2 ? width : -width);
        if (!plane[next]) { plane[next] = 1; open.push(next); }
      }
    }
    for (let y = 2; y < height - 2; y += 1) {
      for (let x = 2; x < width - 2; x += 1) if (!plane[y * width + x]) changed.push(at(x, y));
    }
  }
  flip(mask, changed);
  return changed;
}

// By a pixel: a voxel follows its four neighbours in the slice.
function moved(mask, shape, axes, only, value, allowed) {
  const step = steps(shape), [right, down, across] = axes, [low, high] = allowed, changed = [];
  for (const [k, x0, x1, y0, y1] of slicesOf(mask, shape, axes, only)) {
    if (k < low[across] || k >= high[across]) continue;
    for (let y = Math.max(y0 - 1, low[down]); y < Math.min(y1 + 1, high[down]); y += 1) {
      for (let x = Math.max(x0 - 1, low[right]); x < Math.min(x1 + 1, high[right]); x += 1) {
        const at = k * step[across] + x * step[right] + y * step[down];
        if (mask[at] === value) continue;
        const beside = (x > 0 && mask[at - step[right]] === value)
          || (x < shape[right] - 1 && mask[at + step[right]] === value)
          || (y > 0 && mask[at - step[down]] === value)
          || (y < shape[down] - 1 && mask[at + step[down]] === value);
        if (beside) changed.push(at);
      }
    }
  }
  flip(mask, changed);
  return changed;
}

export const grow = (mask, shape, axes, only, allowed) => moved(mask, shape, axes, only, 1, allowed);
export const shrink = (mask, shape, axes, only, allowed) => moved(mask, shape, axes, only, 0, allowed);

// Turns off what is not connected with a voxel; null where that is off.
export function keepComponent(mask, shape, at, neighbours) {
  if (!mask[at]) return null;
  const [nx, ny] = shape, step = steps(shape), [low, high] = boxOf(mask, shape);
  // The box of the mask, with a layer around it that is off.
  const size = low.map((a, axis) => high[axis] - a + 2), within = steps(size);
  const box = new Uint8Array(size[0] * size[1] * size[2]);
  const inside = (x, y, z) => x - low[0] + 1 + (y - low[1] + 1) * within[1] + (z - low[2] + 1) * within[2];
  for (let z = low[2]; z < high[2]; z += 1) {
    for (let y = low[1]; y < high[1]; y += 1) {
      const begin = low[0] + y * step[1] + z * step[2];
      box.set(mask.subarray(begin, begin + high[0] - low[0]), inside(low[0], y, z));
    }
  }
  const ways = [];
  for (let z = -1; z <= 1; z += 1) {
    for (let y = -1; y <= 1; y += 1) {
      for (let x = -1; x <= 1; x += 1) {
        const far = Math.abs(x) + Math.abs(y) + Math.abs(z);
        if (far && (neighbours === 26 || far === 1)) ways.push(x + y * within[1] + z * within[2]);
      }
    }
  }
  const first = inside(at % nx, Math.floor(at / nx) % ny, Math.floor(at / step[2])), open = [first];
  box[first] = 0;
  while (open.length) {
    const one = open.pop();
    for (const way of ways) if (box[one + way]) { box[one + way] = 0; open.push(one + way); }
  }
  // What is left was not reached.
  const changed = [];
  for (let z = low[2]; z < high[2]; z += 1) {
    for (let y = low[1]; y < high[1]; y += 1) {
      for (let x = low[0]; x < high[0]; x += 1) if (box[inside(x, y, z)]) changed.push(x + y * step[1] + z * step[2]);
    }
  }
  flip(mask, changed);
  return changed;
}

export function difference(mask, other) {
  const changed = [];
  for (let at = 0; at < mask.length; at += 1) if (mask[at] !== other[at]) changed.push(at);
  return changed;
}
