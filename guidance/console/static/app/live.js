// A live frame (ultrasound, cine, X-ray) at its own size, with the plan's outlines that travelled with it.
import { add, apply, invert, turn, unit } from "./geometry.js";
import { windowOf } from "./pane.js";
import { store } from "./store.js";
import { Twin } from "./twin.js";
import { Vectors } from "./vectors.js";

export class LivePane {
  constructor(stream, raw, vectors) {
    this.name = stream;
    this.raw = raw;
    this.twin = new Twin(raw);
    this.vectors = new Vectors(vectors);
    this.zoom = 1;
    this.shift = [0, 0];
  }

  get last() { return store.frames.get(this.name); }

  // Where the picture lies in the view, in CSS pixels: whole, as large as fits, times the zoom.
  place(frame) {
    const box = this.vectors.box || this.raw.parentElement.getBoundingClientRect();
    const [, rows, columns] = frame.shape;
    const k = Math.min(box.width / columns, box.height / rows) * this.zoom;
    return { k, left: (box.width - columns * k) / 2 + this.shift[0], top: (box.height - rows * k) / 2 + this.shift[1], columns, rows };
  }

  draw() {
    const frame = store.frames.get(this.name);
    if (!frame) return;
    const [low, high] = windowOf(frame, this.name);
    const { k, left, top, columns, rows } = this.place(frame);
    this.twin.flat(frame, low, high, k * (window.devicePixelRatio || 1) < 0.55);
    const placed = `${left} ${top} ${columns * k} ${rows * k}`;
    if (this.placed !== placed) Object.assign(this.raw.style, { left: `${left}px`, top: `${top}px`, width: `${columns * k}px`, height: `${rows * k}px` });
    // Lines are drawn again where they or their place changed; tools follow with every state.
    const lines = `${placed} ${JSON.stringify(frame.lines)}`;
    this.placed = placed;
    if (this.lines === lines) return;
    this.lines = lines;
    this.over(frame, k, left, top);
  }

  overlay() {
    const frame = store.frames.get(this.name);
    if (!frame) return;
    const { k, left, top } = this.place(frame);
    this.over(frame, k, left, top);
  }

  over(frame, k, left, top) {
    this.vectors.begin();
    const s = window.devicePixelRatio || 1;
    const px = ([x, y]) => [((x + 0.5) * k + left) * s, ((y + 0.5) * k + top) * s];
    const rows = (frame.lines || []).map((row) => ({ name: row.name, role: row.role, points: row.at.map(px) }));
    for (const row of rows) this.vectors.line(row.points, row.role);
    this.vectors.nameLines(rows, this.lines);
    if (!frame.ras_from_image || !store.state || !store.live) return;
    const m = frame.ras_from_image.map((r) => [...r]);
    const n = unit([m[1][0] * m[2][1] - m[2][0] * m[1][1], m[2][0] * m[0][1] - m[0][0] * m[2][1], m[0][0] * m[1][1] - m[1][0] * m[0][1]]);
    [0, 1, 2].forEach((i) => { m[i][2] = n[i]; });
    const imageFromRas = invert(m);
    for (const [name, tool] of Object.entries(store.state.tools)) {
      const row = store.welcome.tools[name];
      if (!row || row.role !== "tool" || tool.quality !== "ok") continue;
      const tip = apply(tool.ras_from_tool, row.tip_mm);
      const a = apply(imageFromRas, tip);
      const b = apply(imageFromRas, add(tip, unit(turn(tool.ras_from_tool, row.axis)), row.length_mm));
      if (Math.abs(a[2]) > 40) continue;
      this.vectors.line([px(a), px(b)], "tool", { width: 1 });
      this.vectors.ground.line([px(a), px(b)]);
      this.vectors.cross(px(a), 0.6, 0.15);
      const away = Math.abs(a[2]) > 1 ? ` ${Math.abs(a[2]).toFixed(0)} mm off plane` : " in plane";
      const [x, y] = px(a);
      this.vectors.word(`${name}${away}`, x, y, "tool", { name, pad: 0.8 });
    }
    this.vectors.namesAgain();
  }

  under(event) {
    const frame = store.frames.get(this.name);
    if (!frame || !frame.ras_from_image) return null;
    const box = this.raw.parentElement.getBoundingClientRect();
    const { k, left, top } = this.place(frame);
    return apply(frame.ras_from_image, [(event.clientX - box.left - left) / k - 0.5, (event.clientY - box.top - top) / k - 0.5, 0]);
  }

  readout() {
    const frame = store.frames.get(this.name);
    if (!frame) return "";
    return frame.ras_from_image ? `frame ${frame.seq}` : `frame ${frame.seq}  NOT PLACED`;
  }

  slice() {}

  pan(dx, dy) { this.shift = [this.shift[0] + dx, this.shift[1] + dy]; this.draw(); }
}
