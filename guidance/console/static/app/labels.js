// Places for words on a picture: beside what they name, off each other and off letters, bars and lines. All in pixels
// of the canvas; a box is [left, top, right, bottom].
const SHIFTS = [0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5]; // in heights of the word
const ASIDE = [0, -0.5, 0.5, -1, 1]; // in widths of the word
const COST = { line: 0.35, shift: 0.5, side: 0.15, kept: -1.5 }; // a place that was taken before is kept

const meet = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];

export class Ground {
  // `reserved`: boxes of letters and bars; `apart`: how much words keep off lines.
  constructor(width, height, rem, reserved, apart = COST.line) {
    Object.assign(this, { rem, apart, cell: rem / 2, taken: [...reserved], inside: [0.2 * rem, 1.2 * rem, width - 0.2 * rem, height - 1.35 * rem] });
    this.columns = Math.max(1, Math.ceil(width / this.cell));
    this.rows = Math.max(1, Math.ceil(height / this.cell));
    this.lines = new Uint8Array(this.columns * this.rows);
  }

  // The same ground, to take more words without keeping them.
  copy() {
    const other = Object.assign(Object.create(Ground.prototype), this);
    return Object.assign(other, { taken: [...this.taken], lines: this.lines.slice() });
  }

  // Marks where a line runs; what of it is in the picture, as points.
  line(points, closed = false) {
    const seen = [];
    const [width, height] = [this.columns * this.cell, this.rows * this.cell];
    const ends = closed && points.length > 2 ? [...points, points[0]] : points;
    for (let n = 1; n < ends.length; n += 1) {
      const [a, b] = [ends[n - 1], ends[n]];
      if (Math.max(a[0], b[0]) < 0 || Math.max(a[1], b[1]) < 0 || Math.min(a[0], b[0]) >= width || Math.min(a[1], b[1]) >= height) continue;
      const steps = Math.min(200, Math.ceil(Math.hypot(b[0] - a[0], b[1] - a[1]) / this.cell) || 1);
      for (let s = 0; s <= steps; s += 1) {
        const x = a[0] + (b[0] - a[0]) * (s / steps);
        const y = a[1] + (b[1] - a[1]) * (s / steps);
        if (x < 0 || y < 0 || x >= width || y >= height) continue;
        this.lines[Math.floor(y / this.cell) * this.columns + Math.floor(x / this.cell)] = 1;
        seen.push([x, y]);
      }
    }
    return seen;
  }

  // How many cells with lines lie under a box.
  crowd(box) {
    const [c0, r0, c1, r1] = box.map((v) => Math.floor(v / this.cell));
    let sum = 0;
    for (let r = r0; r <= r1; r += 1) for (let c = c0; c <= c1; c += 1) sum += this.lines[r * this.columns + c] || 0;
    return sum;
  }

  free(box) {
    const [x0, y0, x1, y1] = this.inside;
    return box[0] >= x0 && box[1] >= y0 && box[2] <= x1 && box[3] <= y1 && !this.taken.some((other) => meet(box, other));
  }

  // The best free place for a word of `size` round a thing, or null; `kept` is the number of its last place.
  place(thing, [w, h], kept = -1) {
    const [x0, y0, x1, y1] = thing;
    const [cx, cy, gap] = [(x0 + x1) / 2, (y0 + y1) / 2, 0.15 * this.rem];
    const sides = [[cx - w / 2, y1 + gap], [x1 + 2 * gap, cy - h / 2], [cx - w / 2, y0 - h - gap], [x0 - w - 2 * gap, cy - h / 2]];
    let best = null;
    let n = -1;
    for (const [side, [left, top]] of sides.entries()) {
      for (const aside of ASIDE) {
        for (const shift of SHIFTS) {
          n += 1;
          const cost = side * COST.side + (Math.abs(aside) * w + Math.abs(shift) * h) * COST.shift / this.rem + (n === kept ? COST.kept : 0);
          if (best && cost >= best.cost) continue;
          const box = [left + aside * w, top + shift * h, left + aside * w + w, top + shift * h + h];
          if (!this.free(box)) continue;
          const all = cost + this.crowd(box) * this.apart;
          if (!best || all < best.cost) best = { box, n, cost: all };
        }
      }
    }
    if (best) this.taken.push(best.box);
    return best;
  }
}

// Box round points.
export function around(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) { box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y); box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y); }
  return box;
}

// A short line from a word to the nearest point of what it names, where the word does not stand beside it.
export function leader([x0, y0, x1, y1], points, least) {
  const edge = ([x, y]) => [Math.max(x0, Math.min(x1, x)), Math.max(y0, Math.min(y1, y))];
  let best = null;
  for (const p of points) {
    const from = edge(p);
    const far = Math.hypot(p[0] - from[0], p[1] - from[1]);
    if (!best || far < best.far) best = { far, from, to: p };
  }
  return best && best.far > least ? [...best.from, ...best.to] : null;
}
