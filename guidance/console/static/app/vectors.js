// Lines and words over the pictures, on a canvas of screen size: cased, labelled at the line, told apart by dashes.
const DASH = { target: [], organ_at_risk: [9, 5], vessel: [9, 5], eloquent: [9, 5], forbidden: [9, 5], organ: [2, 4], surface: [2, 4], gate: [9, 4, 2, 4], dose: [], tool: [], forecast: [2, 5], ice: [] };
const ROLE_COLOUR = { target: "#7CFC9A", organ_at_risk: "#FF8A3D", vessel: "#FF8A3D", eloquent: "#FF8A3D", forbidden: "#FF8A3D", organ: "#A7B0B7", surface: "#A7B0B7", gate: "#B48CFF", dose: "#FFFFFF", tool: "#FFFFFF", forecast: "#E6B3FF", ice: "#9FD3FF" };

export const roleColour = (role) => ROLE_COLOUR[role] || "#FFFFFF";

export class Vectors {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.box = null;
    new ResizeObserver(() => { this.box = null; }).observe(canvas);
  }

  // Clears and takes the screen's size; returns the size of a rem in its pixels.
  begin() {
    if (!this.box) {
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
    const r = this.rem;
    this.taken = [[width / 2 - r, 1.2 * r, 2 * r], [width / 2 - r, height - 2.9 * r, 2 * r], [0, height - 1.3 * r, width], [0, height / 2 - r, 1.4 * r], [width - 1.4 * r, height / 2 - r, 1.4 * r]];
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

  segments(rows, role, width = 3) {
    if (!rows.length) return;
    const c = this.context;
    const unit = this.rem / 16;
    c.setLineDash((role === "forecast" ? DASH.forecast : []).map((d) => d * unit));
    c.beginPath();
    for (const [x0, y0, x1, y1] of rows) { c.moveTo(x0, y0); c.lineTo(x1, y1); }
    for (const [colour, w] of [["#000000", width + 2], [roleColour(role), width]]) {
      c.strokeStyle = colour;
      c.lineWidth = w * unit;
      c.stroke();
    }
    c.setLineDash([]);
  }

  // A word near a place, moved down where another word stands already.
  word(text, x, y, role) {
    const c = this.context;
    c.font = `${0.875 * this.rem}px B612, "DejaVu Sans", sans-serif`;
    const width = c.measureText(text).width;
    const height = this.rem;
    let left = Math.max(2, Math.min(x - width / 2, this.canvas.width - width - 2));
    let top = Math.max(this.rem * 1.4, Math.min(y - height * 0.4, this.canvas.height - this.rem * 3.4));
    for (let n = 0; n < 6 && this.taken.some((b) => left < b[0] + b[2] && left + width > b[0] && top < b[1] + height && top + height > b[1]); n += 1) top += height;
    this.taken.push([left, top, width]);
    c.lineWidth = 3 * (this.rem / 16);
    c.strokeStyle = "#000000";
    c.strokeText(text, left, top + height * 0.8);
    c.fillStyle = ROLE_COLOUR[role] || "#F4F6F7";
    c.fillText(text, left, top + height * 0.8);
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
