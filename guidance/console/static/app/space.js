// Tool, trajectory, target and treated zone in space: turned with the mouse, projected without perspective.
import { Component, html } from "/static/vendor/preact-htm.js";
import { add, apply, dot, turn, unit } from "./geometry.js";
import { store } from "./store.js";
import { Vectors } from "./vectors.js";
import { TREATED_MIN } from "./overlay.js";

const SCALE_MM = 260;

export class Space extends Component {
  constructor() {
    super();
    this.turned = [0.6, 0.35];
  }

  shouldComponentUpdate() { this.draw(); return false; }

  componentDidMount() {
    this.vectors = new Vectors(this.base.querySelector("canvas"));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.base);
  }

  componentWillUnmount() { this.resized.disconnect(); }

  axes() {
    const [a, b] = this.turned;
    const u = [-Math.cos(a), Math.sin(a), 0];
    const w = [Math.sin(a) * Math.cos(b), Math.cos(a) * Math.cos(b), Math.sin(b)];
    const v = [-Math.sin(a) * Math.sin(b), -Math.cos(a) * Math.sin(b), Math.cos(b)];
    return { u, v, w };
  }

  draw() {
    if (!this.vectors || !store.welcome) return;
    const plan = store.welcome.plan;
    const { width, height } = this.vectors.begin();
    const { u, v } = this.axes();
    const k = Math.min(width, height * 1.3) / SCALE_MM;
    const middle = plan && plan.targets.length ? plan.targets[0].center_mm : store.center;
    const px = (ras) => { const d = add(ras, middle, -1); return [width / 2 + dot(d, u) * k, height / 2 - dot(d, v) * k]; };
    const letters = Object.entries({ R: [1, 0, 0], L: [-1, 0, 0], A: [0, 1, 0], P: [0, -1, 0], S: [0, 0, 1], I: [0, 0, -1] });
    for (const [letter, p] of letters) this.vectors.letter(letter, ...px(add(middle, p, 95)));
    if (plan) {
      for (const wire of plan.wires) {
        wire.lines.forEach((line) => this.vectors.line(line.map(px), wire.role, { width: wire.role === "target" ? 2 : 1 }));
      }
      const rows = plan.wires.flatMap((wire) => wire.lines.map((line) => ({ name: wire.name, role: wire.role, points: line.map(px) })));
      this.vectors.nameLines(rows, `${u} ${v} ${middle}`, { apart: 0.05 });
      for (const t of plan.trajectories) this.vectors.line([px(t.entry_mm), px(t.target_mm)], "gate");
    }
    for (const core of store.state ? store.state.records.cores : []) this.vectors.line(core.ends_mm.map(px), "tool", { width: 3 });
    this.treated(px, k);
    for (const [letter, p] of letters) this.vectors.letter(letter, ...px(add(middle, p, 95))); // over the lines
    for (const [name, tool] of Object.entries(store.state ? store.state.tools : {})) {
      const row = store.welcome.tools[name];
      if (!row || row.role === "reference" || tool.quality !== "ok" || !store.live) continue;
      const tip = apply(tool.ras_from_tool, row.tip_mm);
      this.vectors.line([px(tip), px(add(tip, unit(turn(tool.ras_from_tool, row.axis)), row.length_mm))], "tool");
      this.vectors.cross(px(tip), 0.6, 0.15);
      const [x, y] = px(tip);
      this.vectors.word(name, x, y, "tool", { pad: 0.8 });
    }
    this.vectors.namesAgain();
  }

  // Every voxel at or above the treated dose as a dot.
  treated(px, k) {
    const frame = store.frames.get("volume");
    if (!frame || !frame.layers.dose) return;
    if (this.seq !== frame.seq) {
      this.seq = frame.seq;
      const layer = frame.layers.dose;
      const raw = (Math.log10(TREATED_MIN) - layer.offset) / layer.scale;
      const [slices, rows, columns] = frame.shape;
      this.dots = [];
      for (let n = 0; n < layer.values.length && this.dots.length < 4000; n += 1) {
        if (layer.values[n] < raw || layer.values[n] === layer.missing) continue;
        this.dots.push(apply(frame.ras_from_image, [n % columns, Math.floor(n / columns) % rows, Math.floor(n / columns / rows)]));
      }
    }
    const c = this.vectors.context;
    c.fillStyle = "#FFFFFF";
    const side = Math.max(2, k * 1.5);
    for (const p of this.dots) { const [x, y] = px(p); c.fillRect(x - side / 2, y - side / 2, side, side); }
    if (this.dots.length) { const [x, y] = px(this.dots[0]); this.vectors.word("240 CEM43", x, y, "dose"); }
  }

  drag(event) {
    const from = [...this.turned];
    const move = (e) => {
      this.turned = [from[0] + (e.clientX - event.clientX) / 150, Math.max(-1.5, Math.min(1.5, from[1] + (e.clientY - event.clientY) / 150))];
      this.draw();
    };
    const up = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", up); };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  }

  render() {
    return html`<div class="well space" role="img" aria-label="view in space" onPointerDown=${(e) => this.drag(e)}>
      <canvas></canvas><div class="top"><b>SPACE, drag to turn</b><span class="legend">solid target, dashed at risk, dots treated${store.welcome.offered.includes("CORE") ? ", thick cores" : ""}</span></div>
      <div class="lapse pane">LAST</div></div>`;
  }
}
