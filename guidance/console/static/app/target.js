// Targeting: a bullseye along the trajectory, the two planes in line with it, and the numbers in words.
import { html } from "/static/vendor/preact-htm.js";
import { add, apply, dot, turn, unit } from "./geometry.js";
import { axesOf, pointer, trajectory } from "./planes.js";
import { RecordActs } from "./records.js";
import { fixed, store } from "./store.js";
import { liveName, Well } from "./views.js";

const RINGS = [2, 5, 10];

// Linear to 10 mm, logarithmic outside, so that a far tip stays on the disc.
const radial = (mm) => (mm <= 10 ? mm * 8 : 80 + 14 * Math.log10(mm / 10));

export function aim() {
  const way = trajectory();
  if (!way || !store.state) return null;
  const name = pointer();
  const tool = name && store.state.tools[name];
  if (!tool) return null;
  const { along, side, top } = axesOf(way);
  const row = store.welcome.tools[name];
  const tip = apply(tool.ras_from_tool, row.tip_mm);
  const axis = unit(turn(tool.ras_from_tool, row.axis));
  const off = add(tip, way.target_mm, -1);
  const away = add(axis, along, dot(axis, along) < 0 ? 1 : -1);
  const v = tool.values;
  return {
    way, name, ok: store.live && tool.quality === "ok", values: v, off: [dot(off, side), dot(off, top)],
    tilt: [dot(away, side), dot(away, top)], sigma: v.sigma_mm || 0,
    on: v.lateral_mm + 2 * (v.sigma_mm || 0) <= way.corridor_mm && v.angle_deg <= way.max_angle_deg,
    words: words(v),
  };
}

// Which way to move, in the patient's words.
function words(v) {
  const move = [["lateral_r_mm", "patient's left", "patient's right"], ["lateral_a_mm", "back", "front"], ["lateral_s_mm", "feet", "head"]];
  const far = move.map(([key, plus, minus]) => [Math.abs(v[key] || 0), (v[key] || 0) > 0 ? plus : minus]).filter(([d]) => d >= 0.5);
  return far.sort((a, b) => b[0] - a[0]).slice(0, 2).map(([d, to]) => `${d.toFixed(d < 20 ? 1 : 0)} mm to ${to}`).join(", ");
}

const polar = ([x, y]) => { const d = Math.hypot(x, y) || 1e-9; const r = radial(d); return [(x / d) * r, (-y / d) * r]; };

// Where the tip lies with 95 %: the ring of two sigma round it, as the disc of the bullseye shows it.
const ellipse = ([x, y], mm) => Array.from({ length: 36 }, (_, n) => polar([x + mm * Math.cos(n * Math.PI / 18), y + mm * Math.sin(n * Math.PI / 18)]).map((v) => v.toFixed(1)).join(",")).join(" ");

export function Bullseye() {
  const a = aim();
  const bright = "#F4F6F7";
  const tip = a && a.ok ? polar(a.off) : null;
  const tail = a && a.ok ? polar(add([...a.off, 0], [...a.tilt, 0], 60)) : null;
  return html`<div class="well bull" role="img" aria-label="bullseye along the trajectory">
    <svg viewBox="-165 -106 330 212" aria-hidden="true">
      ${RINGS.map((mm) => html`<circle key=${mm} r=${radial(mm)} fill="none" stroke="#A7B0B7" stroke-width="1" />`)}
      ${a && html`<circle r=${radial(a.way.corridor_mm)} fill="none" stroke=${a.ok && a.on ? "#7CFC9A" : bright} stroke-width=${a.ok && a.on ? 4 : 2} stroke-dasharray=${a.ok && a.on ? "none" : "5 4"} />`}
      <path d="M-96 0H96M0-96V96" stroke="#4A535A" stroke-width="0.7" />
      ${RINGS.map((mm) => html`<text key=${`${mm} mm`} x="3" y=${radial(mm) + 11} font-size="12">${mm} mm</text>`)}
      ${tip && html`<g>
        <line x1=${tip[0]} y1=${tip[1]} x2=${tail[0]} y2=${tail[1]} stroke="#A7B0B7" stroke-width="1.5" />
        <circle cx=${tail[0]} cy=${tail[1]} r="4" fill="none" stroke=${bright} stroke-width="1.5" />
        <polygon points=${ellipse(a.off, 2 * a.sigma)} fill="none" stroke=${bright} stroke-width="1.5" stroke-dasharray="3 2" />
        <path d=${`M${tip[0] - 7} ${tip[1]}h14M${tip[0]} ${tip[1] - 7}v14`} stroke=${bright} stroke-width="2.5" />
      </g>`}
      <text x="-160" y="-92" font-size="12">BULLSEYE ${a ? `along ${a.way.name}` : "nothing to aim"}</text>
      <text x="-160" y="74" font-size="12">+ tip</text><text x="-160" y="87" font-size="12">o axis</text><text x="-160" y="100" font-size="12">dashed: 2 sigma</text><text x="70" y="100" font-size="12">log outside 10</text>
    </svg>
    <div class="lapse pane">LAST</div>
  </div>`;
}

// Bullseye and the live picture (or the axial plane) on the left, the two strips along the trajectory on the right.
export function TargetPage() {
  const live = liveName();
  const strips = trajectory() ? ["inplane", "perp"] : ["coronal", "sagittal"];
  const names = [strips[0], live || "axial", strips[1]];
  const shown = names.includes(store.enlarged) ? [store.enlarged] : names;
  return html`<section class="views ${shown.length === 1 ? "one" : ""}" aria-label="views">
    ${shown.length > 1 && html`<${Bullseye} key="bullseye" />`}
    ${shown.map((name) => html`<${Well} key=${name} name=${name} live=${name === live} />`)}
  </section>`;
}

// Why there is no aim: what the plan, the room or the tool's way into the plan's space lacks.
function whyNoAim() {
  if (!store.state) return "waiting";
  if (!store.welcome.plan) return "No plan is loaded.";
  const name = pointer();
  return name ? `${name} is NOT PLACED: ${store.state.not_live[name] || "no pose yet"}.` : "This room has no tool.";
}

function whyNotTracked(name) {
  const why = store.state.not_live[name] || `${name} is not seen`;
  return why === `${name} is not seen` ? `bring ${name} into view` : why;
}

// How far along the trajectory, in words.
function way(go) {
  if (Math.abs(go) < 0.5) return "the tip is at the target";
  return go > 0 ? `advance ${fixed(go)} mm` : `draw back ${fixed(-go)} mm`;
}

export function TargetSide() {
  const a = aim();
  if (!a) return html`<div><div id="aim" class="t2">${whyNoAim()}</div><${RecordActs} /></div>`;
  const v = a.ok ? a.values : {};
  const near = Object.entries(v).filter(([key]) => key.endsWith(".distance_mm")).sort((x, y) => x[1] - y[1])[0];
  const go = v.depth_to_go_mm;
  const rows = [
    ["lateral", v.lateral_mm, "mm", `lim ${a.way.corridor_mm.toFixed(1)}`],
    ["depth to go", go, "mm", `of ${(Math.hypot(...add(a.way.target_mm, a.way.entry_mm, -1))).toFixed(0)}`],
    ["angle", v.angle_deg, "deg", `lim ${a.way.max_angle_deg.toFixed(1)}`],
    [near ? `nearest: ${near[0].replace(".distance_mm", "")}` : "nearest", near && near[1], "mm", ""],
    ["tip uncertainty, 1 sigma", v.sigma_mm, "mm", ""],
  ];
  return html`<div>
    <div class="t1 strong" id="aim">${!a.ok ? "NOT TRACKED" : a.on ? "ON TARGET" : "HOLD"}</div>
    <div class="t2">${a.ok && !a.on ? `move ${a.words || "along the axis"}` : a.ok ? way(go) : whyNotTracked(a.name)}</div>
    <table class="numbers"><caption hidden>targeting</caption><tbody>${rows.map(([name, value, unitName, limit]) => html`<tr key=${name}>
      <td>${name}</td><td class="value">${fixed(value)}</td><td class="dim">${unitName}</td><td class="num dim">${limit}</td></tr>`)}</tbody></table>
    <${RecordActs} />
  </div>`;
}
