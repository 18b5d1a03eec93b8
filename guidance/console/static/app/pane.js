// One view of the volume: raw canvas at data size, vectors on top, mouse and keys. Draws on data or input only.
import { add, apply, cross, dot, norm, plane, toPixel, toRas, unit, turn, valueOf, voxelAt } from "./geometry.js";
import { GlPlane, usesGl } from "./gl.js";
import { labelsOf, LAYERS, lookOf, sigmaLimit, TREATED_MIN } from "./overlay.js";
import { pointer, STRIPS, trajectory, viewOf } from "./planes.js";
import { changed, fixed, store } from "./store.js";
import { edgesOf, Twin } from "./twin.js";
import { Vectors } from "./vectors.js";

const DATA_WIDTH = 256;
const FIELD_MM = 220; // across the view at zoom 1
// Layers of a lesion that grows from an applicator, each outlined where it is 0: role of the line, words.
const LESIONS = { damage_forecast: ["forecast", "forecast"], below_20: ["forecast", "-20"], below_40: ["forecast", "-40"], damage: ["dose", "damage 1"], ice: ["ice", "edge of the ice"], lethal: ["dose", "lethal"] };
export const whites = new Map(); // stream -> value shown as white at the full window, fixed at first sight

export function windowOf(frame, name) {
  const layer = frame.layers.magnitude;
  const most = layer.white;
  const white = whites.get(frame.stream);
  if (!white || most > 2 * white || most < white / 2) whites.set(frame.stream, most);
  const { low = 0, high = 1 } = store.window[name] || {};
  const scale = layer.type === "uint8" ? 1 : layer.scale;
  const top = whites.get(frame.stream);
  return [low * top / scale, Math.max(high, low + 0.01) * top / scale];
}

// What the two strips run through: the tip where it is followed and placed.
function throughWhat() {
  const tool = store.state && store.state.tools[pointer()];
  return `through the ${store.follow === "tip" && tool && tool.quality === "ok" ? "tip" : "crosshair"}, along ${trajectory().name}`;
}

export class Pane {
  constructor(name, raw, vectors) {
    this.name = name;
    this.vectors = new Vectors(vectors);
    this.drawer = usesGl() ? new GlPlane(raw) : new Twin(raw);
    this.raw = raw;
    this.edges = {}; // role -> the segments of its newest contour, for one frame and plane
  }

  plane() {
    const box = this.raw.parentElement.getBoundingClientRect();
    const view = viewOf(this.name);
    const width = DATA_WIDTH;
    const height = Math.max(16, Math.round(width * box.height / Math.max(1, box.width)));
    const n = cross(view.columns, view.rows);
    const middle = add(store.center, n, dot(add(store.crosshair, store.center, -1), n));
    return plane(view, middle, FIELD_MM / store.zoom / width, width, height);
  }

  draw() {
    if (!store.welcome) return;
    const p = this.plane();
    this.last = p;
    const frame = store.frames.get("volume");
    if (frame) {
      const [low, high] = windowOf(frame, "volume");
      this.drawer.plane(frame, p, low, high, lookOf(frame), store.opacity, sigmaLimit());
    }
    this.overlay(p, frame);
  }

  overlay(p, frame) {
    const { width, height } = this.vectors.begin();
    const k = width / p.width;
    const px = (ras) => { const [x, y, z] = toPixel(p, ras); return [(x + 0.5) * k, (y + 0.5) * k, z]; };
    const at = px(store.crosshair).map(Math.round);
    const hair = [[0, at[1], at[0] - 12 * k, at[1]], [at[0] + 12 * k, at[1], width, at[1]], [at[0], 0, at[0], at[1] - 12 * k], [at[0], at[1] + 12 * k, at[0], height]].map((s) => s.map(Math.round));
    this.vectors.segments(hair, "organ", 1);
    this.outlines(p, px, hair);
    this.doses(p, frame, k);
    this.trajectories(px);
    this.tools(px);
    this.vectors.namesAgain();
    this.points(px, k / p.mm);
  }

  // The plan where the plane cuts it, with names.
  outlines(p, px, hair) {
    const lines = store.outlines;
    if (!lines || !lines.views[this.name] || Math.abs(dot(add(lines.at, store.crosshair, -1), p.n)) >= 2) return;
    const rows = lines.views[this.name].map((row) => ({ name: row.name, role: row.role, points: row.ras.map(px) }));
    for (const row of rows) this.vectors.line(row.points, row.role);
    this.vectors.nameLines(rows, `${lines.at} ${p.origin} ${p.mm} ${p.u}`, { lines: hair.map(([x0, y0, x1, y1]) => [[x0, y0], [x1, y1]]) });
  }

  // 240 CEM43 as it is, thick, and as it will be if power goes off now, dotted; in tissue coordinates where they are known.
  doses(p, frame, k) {
    const lesion = store.frames.get("lesion");
    if (lesion) {
      for (const [name, [role, words]] of Object.entries(LESIONS)) {
        if (lesion.layers[name]) this.contour(p, lesion, lesion.layers[name], role, k, words, 0, name);
      }
      return; // two models of damage are never drawn over each other
    }
    const region = store.frames.get("forecast");
    const own = region || frame;
    if (own && own.layers.dose) this.contour(p, own, own.layers.dose, "dose", k, `${TREATED_MIN} CEM43`);
    if (region && region.layers.forecast) this.contour(p, region, region.layers.forecast, "forecast", k, "forecast");
  }

  contour(p, frame, layer, role, k, words, level = Math.log10(TREATED_MIN), name = role) {
    const key = `${frame.seq}:${p.origin}:${p.mm}:${p.u}`;
    if (!this.edges[name] || this.edges[name].key !== key) this.edges[name] = { key, rows: edgesOf(frame, p, layer, level, 2) };
    const rows = this.edges[name].rows.map((s) => s.map((v) => (v + 0.5) * k));
    this.vectors.segments(rows, role, role === "dose" ? 3 : 2);
    if (rows.length) this.vectors.word(words, rows[0][0], rows[0][1], role, { name });
  }

  // Regions that a person placed: a ring of their size where the plane cuts them.
  points(px, perMm) {
    for (const point of store.state ? store.state.points : []) {
      const at = px(point.ras);
      const cut = point.radius_mm ** 2 - at[2] ** 2;
      if (cut <= 0) continue;
      this.vectors.ring(at, Math.max(4, Math.sqrt(cut) * perMm), "gate");
      this.vectors.word(point.limit_c ? `${point.name} lim ${point.limit_c}` : point.name, at[0], at[1], "gate", { name: point.name });
    }
  }

  trajectories(px) {
    for (const t of (store.welcome.plan ? store.welcome.plan.trajectories : [])) {
      this.vectors.line([px(t.entry_mm), px(t.target_mm)], "gate", { width: 1 });
    }
  }

  tools(px) {
    if (!store.state || !store.live) return;
    for (const [name, tool] of Object.entries(store.state.tools)) {
      const row = store.welcome.tools[name];
      if (!row || row.role !== "tool" || tool.quality !== "ok") continue;
      const tip = apply(tool.ras_from_tool, row.tip_mm);
      const hand = add(tip, unit(turn(tool.ras_from_tool, row.axis)), row.length_mm);
      const at = px(tip);
      if (norm(add(tip, store.crosshair, -1)) > 200) continue;
      this.vectors.line([at, px(hand)], "tool", { width: 2 });
      this.vectors.ground.line([at, px(hand)]);
      this.vectors.cross(at, 0.6, 0.15);
      this.vectors.word(`${name} ${at[2] > 1 ? "behind " : at[2] < -1 ? "before " : ""}${Math.abs(at[2]) > 1 ? `${Math.abs(at[2]).toFixed(0)} mm` : ""}`, at[0], at[1], "tool", { name, pad: 0.8 });
    }
  }

  // RAS point under a mouse position of the view.
  under(event) {
    const box = this.raw.parentElement.getBoundingClientRect();
    const k = (this.last || this.plane()).width / box.width;
    return toRas(this.last || this.plane(), (event.clientX - box.left) * k - 0.5, (event.clientY - box.top) * k - 0.5);
  }

  // The raw voxel at the crosshair in its own units, never the screen's pixel.
  readout() {
    const frame = store.frames.get("volume");
    if (STRIPS.includes(this.name)) return throughWhat();
    const along = { axial: ["I", "S", 2], coronal: ["P", "A", 1], sagittal: ["L", "R", 0] }[this.name];
    const at = store.crosshair[along[2]];
    const parts = [`${at < 0 ? along[0] : along[1]} ${Math.abs(at).toFixed(1)} mm`];
    if (!frame || this.name !== "axial" || !frame.layers.temperature) return parts[0];
    const index = voxelAt(frame, store.crosshair);
    const value = (name) => valueOf(frame.layers[name], index);
    if (index < 0) parts.push("T outside");
    else if (value("temperature") === null) parts.push("T missing");
    else parts.push(`T ${fixed(value("temperature"))} \u00b1${fixed(value("sigma"))} degC`);
    const labels = labelsOf(frame);
    const label = labels && index >= 0 ? labels.values[index] : 0;
    if (label) parts.push(store.welcome.plan.labels[label - 1]);
    if (store.layer === "dose" && index >= 0) parts.push(`${LAYERS.dose.word} ${fixed(10 ** value("dose"))} min`);
    return parts.join("  ");
  }

  slice(steps) {
    const p = this.last || this.plane();
    const frame = store.frames.get("volume");
    const spacing = frame ? Math.min(...[0, 1, 2].map((i) => 1 / Math.max(1e-6, Math.abs(dot(frame.imageFromRas[i], p.n))))) : 1;
    store.follow = "free";
    store.crosshair = add(store.crosshair, p.n, steps * Math.min(5, Math.max(1, spacing)));
    changed();
  }

  pan(dx, dy) {
    const p = this.last || this.plane();
    const k = p.width / this.raw.parentElement.getBoundingClientRect().width;
    store.center = add(add(store.center, p.u, -dx * k * p.mm), p.v, -dy * k * p.mm);
    changed();
  }
}
