// Lines and words over the pictures, on a canvas of screen size: cased, labelled at the line, told apart by dashes.
import { around, Ground, leader } from "./labels.js";

const DASH = { target: [], organ_at_risk: [9, 5], vessel: [9, 5], eloquent: [9, 5], forbidden: [9, 5], organ: [2, 4], surface: [2, 4], gate: [9, 4, 2, 4], dose: [], tool: [], forecast: [2, 5], ice: [] };
const ROLE_COLOUR = { target: "#7CFC9A", organ_at_risk: "#FF8A3D", vessel: "#FF8A3D", eloquent: "#FF8A3D", forbidden: "#FF8A3D", organ: "#A7B0B7", surface: "#A7B0B7", gate: "#B48CFF", dose: "#FFFFFF", tool: "#FFFFFF", forecast: "#E6B3FF", ice: "#9FD3FF" };

const RESERVED = ".letter, .scalebar, .scalebar span, .colours, .colours span, .placing, .legend";
const CLEAR = 5; // rem; words do not stand on a target that is smaller
const MEASURED_MS = 1000; // how long measured letters and bars are believed

export const roleColour = (role) => ROLE_COLOUR[role] || "#FFFFFF";

export class Vectors {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.box = null;
    this.names = { key: "", of: null, ground: null, words: [] };
    this.kept = new Map(); // word -> the number of the place that it had last
    this.widths = new Map();
    new ResizeObserver(() => { this.box = null; }).observe(canvas);
  }

  // Clears and takes the screen's size; returns the size of a rem in its pixels.
  begin() {
    if (!this.box) {
      this.measuredAt = -Infinity;
      this.box = this.canvas.getBoundingClientRect();
      this.fontPx = parseFloat(getComputedStyle(document.documentElement).fontSize);
    }
    const { box } = this;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(box.width * scale);
    const height = Math.round(box.height * scale);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.rem = this.fontPx * scale;
    this.reserve(scale);
    this.ground = new Ground(width, height, this.rem, this.reserved);
    return { width, height };
  }

  line(points, role, { width = 2, closed = false } = {}) {
    if (points.length < 2) return;
    const c = this.context;
    const unit = this.rem / 16;
    c.beginPath();
    points.forEach(([x, y], n) => (n ? c.lineTo(x, y) : c.moveTo(x, y)));
    if (closed) c.closePath();
    c.setLineDash((DASH[role] || []).map((d) => d * unit));
    c.lineJoin = "round";
    for (const [colour, w] of [["#000000", width + 2], [roleColour(role), width]]) {
      c.strokeStyle = colour;
      c.lineWidth = w * unit;
      c.stroke();
    }
    c.setLineDash([]);
  }

  segments(rows, role, width = 3, dash = role === "forecast" ? DASH.forecast : []) {
    if (!rows.length) return;
    const c = this.context;
    const unit = this.rem / 16;
    c.setLineDash(dash.map((d) => d * unit));
    c.beginPath();
    for (const [x0, y0, x1, y1] of rows) { c.moveTo(x0, y0); c.lineTo(x1, y1); }
    for (const [colour, w] of [["#000000", width + 2], [roleColour(role), width]]) {
      c.strokeStyle = colour;
      c.lineWidth = w * unit;
      c.stroke();
    }
    c.setLineDash([]);
  }

  // Boxes of what the page itself writes over the picture.
  reserve(scale) {
    this.reserved = this.measured;
    if (performance.now() - this.measuredAt < MEASURED_MS) return;
    this.measuredAt = performance.now();
    this.measured = [...this.canvas.parentElement.querySelectorAll(RESERVED)].map((e) => e.getBoundingClientRect()).filter((b) => b.width)
      .map((b) => [(b.left - this.box.left) * scale - 3, (b.top - this.box.top) * scale, (b.right - this.box.left) * scale + 3, (b.bottom - this.box.top) * scale]);
    this.reserved = this.measured;
  }

  width(text) {
    const key = `${this.rem} ${text}`;
    if (this.widths.size > 300) this.widths.clear();
    if (!this.widths.has(key)) {
      this.context.font = this.font();
      this.widths.set(key, this.context.measureText(text).width);
    }
    return this.widths.get(key);
  }

  font() { return `${0.875 * this.rem}px B612, "DejaVu Sans", sans-serif`; }

  // Names of outlines. Their places are found anew when the outlines, the plane or the page's own words changed.
  // rows: { name, role, points in pixels }; lines: further lines that words should not cover.
  nameLines(rows, key, { lines = [], apart } = {}) {
    const { width, height } = this.canvas;
    const whole = `${key} ${width} ${height} ${this.reserved}`;
    if (this.names.key !== whole) {
      const ground = new Ground(width, height, this.rem, this.reserved, apart);
      lines.forEach((points) => ground.line(points));
      const seen = new Map();
      const rank = ({ role }) => (role === "target" ? 0 : ["organ", "surface", "gate"].includes(role) ? 2 : 1);
      for (const row of [...rows].sort((a, b) => rank(a) - rank(b))) seen.set(row.name, { role: row.role, points: [...(seen.get(row.name) || { points: [] }).points, ...ground.line(row.points)] });
      const words = [...seen].map(([text, one]) => this.find(ground, text, one.points, one.role)).filter(Boolean);
      this.names = { key: whole, ground, words };
    }
    this.ground = this.names.ground.copy();
    this.names.words.forEach((one) => this.write(one));
  }

  // Names once more, over the lines that came after them.
  namesAgain() { this.names.words.forEach((one) => this.write(one)); }

  // Where a name may stand: whole, or its first letters, or nowhere.
  find(ground, text, points, role) {
    if (!points.length) return null;
    const thing = around(points);
    if (role === "target" && Math.max(thing[2] - thing[0], thing[3] - thing[1]) < CLEAR * this.rem) ground.taken.push(thing);
    for (const words of text.length > 10 ? [text, `${text.slice(0, 8)}.`] : [text]) {
      const place = ground.place(thing, [this.width(words), this.rem], this.kept.get(text));
      if (!place) continue;
      this.kept.set(text, place.n);
      return { text: words, role, box: place.box, leader: leader(place.box, points, 0.8 * this.rem) };
    }
    return null;
  }

  // A word beside a point that moves. `name`: what stays the same of it, and stands alone where the whole finds no
  // place; `pad`: how far it keeps off, in rem.
  word(text, x, y, role, { name = text, pad = 0.5 } = {}) {
    const r = pad * this.rem;
    for (const words of new Set([text, name])) {
      const place = this.ground.place([x - r, y - r, x + r, y + r], [this.width(words), this.rem], this.kept.get(name));
      if (!place) continue;
      this.kept.set(name, place.n);
      this.write({ text: words, role, box: place.box, leader: leader(place.box, [[x, y]], (pad + 1) * this.rem) });
      return;
    }
  }

  write({ text, role, box, leader: line }) {
    const c = this.context;
    if (line) this.segments([line], role, 1, []);
    c.font = this.font();
    c.lineWidth = 3 * (this.rem / 16);
    c.lineJoin = "round";
    c.strokeStyle = "#000000";
    c.strokeText(text, box[0], box[1] + this.rem * 0.8);
    c.fillStyle = ROLE_COLOUR[role] || "#F4F6F7";
    c.fillText(text, box[0], box[1] + this.rem * 0.8);
  }

  // A letter at its place; other words keep off it.
  letter(text, x, y) {
    const half = this.width(text) / 2;
    const box = [x - half, y - this.rem / 2, x + half, y + this.rem / 2];
    this.write({ text, role: "text", box });
    this.reserved = [...this.reserved, box];
  }

  cross([x, y], arm, gap, role = "tool", width = 1) {
    const a = arm * this.rem;
    const g = gap * this.rem;
    this.segments([[x - a, y, x - g, y], [x + g, y, x + a, y], [x, y - a, x, y - g], [x, y + g, x, y + a]], role, width);
  }

  ring([x, y], radius, role, width = 2) {
    const points = Array.from({ length: 49 }, (_, n) => [x + radius * Math.cos(n * Math.PI / 24), y + radius * Math.sin(n * Math.PI / 24)]);
    this.line(points, role, { width });
  }
}
