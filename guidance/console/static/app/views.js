// The four wells: axial, coronal, sagittal and the live frame, with letters, age, read-out, scale and colour bar.
import { Component, html } from "/static/vendor/preact-htm.js";
import { ask, on, send } from "./link.js";
import { LivePane } from "./live.js";
import { endsOf, LAYERS } from "./overlay.js";
import { add, apply, invert, norm } from "./geometry.js";
import { Pane } from "./pane.js";
import { Space } from "./space.js";
import { pointer, pointers, STRIPS, TITLE, viewOf } from "./planes.js";
import { age, changed, set, store } from "./store.js";
import { VideoPane } from "./video.js";

export const panes = new Map();
let outlinesAt = null;
let asking = false;

// Outlines for the crosshair from the service, one question at a time, the newest point last.
export async function followOutlines() {
  if (!store.outlines) outlinesAt = null;
  if (asking || !store.live || !store.welcome || !store.welcome.plan) return;
  const strips = [...panes.keys()].some((name) => STRIPS.includes(name));
  if (outlinesAt && norm(add(outlinesAt, store.crosshair, -1)) < 0.05 && (!strips || (store.outlines.views || {}).inplane)) return;
  asking = true;
  outlinesAt = store.crosshair;
  const planes = Object.fromEntries([...panes.keys()].filter((name) => STRIPS.includes(name)).map((name) => [name, viewOf(name)]));
  const answer = await ask({ kind: "look", at: store.crosshair, planes });
  asking = false;
  if (answer) { store.outlines = answer; drawAll(); }
}

export function drawAll() {
  followOutlines();
  for (const pane of panes.values()) pane.draw();
}

// The crosshair by what is followed: the tip where it is live, else the target, else where the operator put it.
export function followCrosshair() {
  if (store.follow === "free" || !store.welcome) return;
  const plan = store.welcome.plan;
  let at = plan && plan.targets.length ? plan.targets[0].center_mm : [0, 0, 0];
  if (store.follow === "tip" && store.state) {
    const live = (name) => (store.state.tools[name] || {}).quality === "ok";
    const name = [pointer(), ...pointers()].find(live);
    if (name) at = apply(store.state.tools[name].ras_from_tool, store.welcome.tools[name].tip_mm);
  }
  store.crosshair = at;
  if (norm(add(at, store.center, -1)) > 80 / store.zoom) store.center = at;
}

// A picture is drawn when it comes, not at the next animation frame: the canvas then holds it when the page is composed
// next. A hidden page draws nothing and sends no receipt, so that the service sends it nothing more.
function arrived(name) {
  if (document.hidden) { requestAnimationFrame(() => arrived(name)); return; }
  const frame = store.frames.get(name);
  const receipt = () => send({ kind: "drawn", stream: name, seq: frame.seq, receive_ns: frame.receive_ns });
  const planes = [...panes.values()].filter((p) => p instanceof Pane);
  if (VOLUMES.includes(name)) planes.forEach((p) => p.draw());
  else if (LINES.includes(name)) planes.forEach((p) => p.last && p.overlay(p.last, store.frames.get("volume")));
  const drawing = panes.has(name) ? panes.get(name).draw() : null; // only a video's picture takes its time
  if (drawing) drawing.then(receipt, receipt);
  else receipt();
}
const VOLUMES = ["volume", "labels"];
const LINES = ["forecast", "lesion"]; // only lines over the planes

on("frame", (frame) => {
  frame.imageFromRas = frame.ras_from_image ? invert(frame.ras_from_image) : null;
  arrived(frame.stream);
});

function onPointer(pane, event) {
  const start = { x: event.clientX, y: event.clientY };
  const window0 = store.window[pane instanceof LivePane ? pane.name : "volume"] || { low: 0, high: 1 };
  const move = (e) => {
    const dx = e.clientX - start.x;
    const dy = e.clientY - start.y;
    if (event.button === 1) { pane.pan(e.movementX, e.movementY); return; }
    if (event.button === 2) {
      const key = pane instanceof LivePane ? pane.name : "volume";
      const half = Math.max(0.02, (window0.high - window0.low) / 2 + dx / 500);
      const mid = (window0.high + window0.low) / 2 - dy / 500;
      store.window[key] = { low: Math.max(0, mid - half), high: mid + half };
      pane.draw();
      return;
    }
    const at = pane.under(e);
    if (at) { store.follow = "free"; store.crosshair = at; changed(); drawAll(); }
  };
  const up = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", up); };
  if (event.button === 0) move(event);
  addEventListener("pointermove", move);
  addEventListener("pointerup", up);
}

function onWheel(pane, event) {
  event.preventDefault();
  const way = Math.sign(event.deltaY);
  if (!event.ctrlKey) { pane.slice(way); drawAll(); return; }
  zoom(way < 0 ? 1.15 : 1 / 1.15, pane, event);
}

export function zoom(factor, pane = null, event = null) {
  if (pane instanceof LivePane) { pane.zoom = Math.max(1, Math.min(10, pane.zoom * factor)); pane.draw(); return; }
  const fixedPoint = pane && event ? pane.under(event) : store.crosshair;
  const next = Math.max(0.5, Math.min(12, store.zoom * factor));
  const k = 1 - store.zoom / next;
  store.center = add(store.center, add(fixedPoint, store.center, -1), k);
  store.zoom = next;
  changed();
  drawAll();
}

const isVideo = (name) => (store.welcome.streams[name] || {}).kind === "video";

function paneFor(name, live, raw, vectors) {
  if (!live) return new Pane(name, raw, vectors);
  return isVideo(name) ? new VideoPane(name, raw) : new LivePane(name, raw, vectors);
}

export class Well extends Component {
  componentDidMount() {
    const [raw, vectors] = this.base.querySelectorAll("canvas");
    const { name, live } = this.props;
    this.pane = paneFor(name, live, raw, vectors);
    panes.set(name, this.pane);
    this.base.addEventListener("wheel", (e) => onWheel(this.pane, e), { passive: false });
    this.resized = new ResizeObserver(() => { this.pane.draw(); if (isVideo(name)) this.pane.place(); });
    this.resized.observe(this.base);
    this.pane.draw();
  }

  componentWillUnmount() {
    this.resized.disconnect();
    panes.delete(this.props.name);
  }

  render({ name, live }) {
    const stream = live ? name : "volume";
    const ms = store.state && store.state.pictures[stream];
    const limit = live ? (store.welcome.streams[name] || { limit_ms: 300 }).limit_ms : (store.welcome.streams[store.welcome.thermometry] || { limit_ms: 1000 }).limit_ms;
    const old = typeof ms === "number" && ms > limit;
    const letters = live ? "" : viewOf(name).letters;
    const pictured = live || store.welcome.thermometry; // else only the plan is drawn here
    const frame = store.frames.get(stream);
    const last = frame ? new Date(frame.receive_ns / 1e6).toTimeString().slice(0, 8) : "never";
    return html`<div class="well ${live ? "live" : ""}" data-view=${name} tabindex="0" role="img"
        aria-label=${`${live ? "live" : TITLE[name]} view`}
        onPointerDown=${(e) => onPointer(this.pane, e)} onContextMenu=${(e) => e.preventDefault()}
        onDblClick=${() => set({ enlarged: store.enlarged === name ? "" : name })}
        onKeyDown=${(e) => { const way = { ArrowUp: -1, ArrowDown: 1 }[e.key]; if (way) { e.preventDefault(); this.pane.slice(way); drawAll(); } }}>
      <canvas class="raw"></canvas><canvas class="vectors"></canvas>
      ${!frame && pictured && html`<div class="empty">no ${live ? name : "volume"} yet</div>`}
      <div class="top"><b>${live ? `LIVE ${name}` : TITLE[name]}${isVideo(name) ? html` <span class="mode">JPEG</span>` : ""}${!live && frame ? html` <span>${store.zoom.toFixed(1)}x ${LAYERS[store.layer].word}</span>` : ""}</b>
        <span class="age ${old ? "old" : ""}">${!pictured ? "plan only" : old ? `NOT LIVE ${(ms / 1000).toFixed(1)}s` : age(ms)}</span></div>
      ${letters && ["l", "r", "t", "b"].map((side, n) => html`<span class="letter ${side}">${letters[n]}</span>`)}
      <div class="readout">${this.pane ? this.pane.readout() : ""}</div>
      ${!live && this.pane && this.pane.last && html`<${ScaleBar} mm=${this.pane.last.mm * this.pane.last.width} base=${this.base} />`}
      ${!live && (name === "axial" || name === "inplane") && store.welcome.thermometry && html`<${ColourBar} />`}
      ${store.placing && !isVideo(name) && html`<div class="placing">PLACE: click, then WATCH or GUARD</div>`}
      <div class="lapse pane">LAST ${last}</div>
    </div>`;
  }
}

function ScaleBar({ mm, base }) {
  const width = base ? base.getBoundingClientRect().width : 1;
  const length = [10, 20, 50, 100].find((l) => (l / mm) * width > width * 0.12) || 100;
  return html`<div class="scalebar" ref=${(el) => { if (el) el.style.width = `${(length / mm) * width}px`; }}><span>${length} mm</span></div>`;
}

class ColourBar extends Component {
  componentDidUpdate() { this.draw(); }

  componentDidMount() { this.draw(); }

  draw() {
    const canvas = this.base && this.base.querySelector && this.base.querySelector("canvas");
    if (!canvas || !store.welcome) return;
    const c = canvas.getContext("2d");
    canvas.width = 1;
    canvas.height = 256;
    const { scale } = store.welcome;
    const [low, high] = scale.ends_c;
    const cut = store.layer === "temperature" ? ((scale.shown_c - low) / (high - low)) * 255 : -1;
    const hidden = (n) => cut >= 0 && (scale.cold ? n > cut : n < cut);
    scale.rgb.forEach(([r, g, b], n) => { c.fillStyle = hidden(n) ? "#000" : `rgb(${r},${g},${b})`; c.fillRect(0, 255 - n, 1, 1); });
  }

  render() {
    const ends = endsOf();
    if (!ends) return html`<div class="colours" hidden></div>`;
    return html`<div class="colours"><canvas></canvas><span class="hi">${ends[1]}</span><span class="lo">${ends[0]}</span></div>`;
  }
}

export const liveNames = () => Object.entries(store.welcome.streams).filter(([, s]) => ["ultrasound", "cine", "xray", "video"].includes(s.kind)).map(([n]) => n);

// The live picture that the fourth view shows; V goes on to the next one.
export const liveName = () => { const names = liveNames(); return names[store.liveChoice % Math.max(1, names.length)]; };

export function Views() {
  const live = liveName();
  const planes = ["axial", "coronal", "sagittal"];
  const first = !store.welcome.thermometry && live; // no volume: the live picture is the large one
  const names = first ? [live, ...planes] : [...planes, ...(live ? [live] : [])];
  const shown = store.enlarged && names.includes(store.enlarged) ? [store.enlarged] : names;
  return html`<section class="views ${shown.length === 1 ? "one" : ""} ${first && shown.length > 1 ? "live-first" : ""}" aria-label="views">
    ${shown.map((name) => html`<${Well} key=${name} name=${name} live=${name === live} />`)}
    ${shown.length === 3 && html`<${Space} />`}
  </section>`;
}
