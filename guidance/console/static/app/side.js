// The right column: phase, beam, numbers with value, unit, limit and age; graphs; streams.
import { html } from "/static/vendor/preact-htm.js";
import { Graphs } from "./graphs.js";
import { age, fixed, store, temperatures } from "./store.js";

const NO_LIMIT = 1e9; // a plan states so much where a place may take any dose

const BAR = { "%": [0, 100], "CEM43 min": [0, 25], mm: [0, 20], deg: [0, 20] };

function Bar({ row }) {
  const [low, high] = row.unit === "degC" ? temperatures() : BAR[row.unit] || [0, Math.max(1, (row.limit || 1) * 1.3)];
  const share = (v) => Math.max(0, Math.min(100, (100 * (v - low)) / (high - low)));
  const width = store.live && typeof row.value === "number" ? share(row.value) : 0;
  return html`<div class="bar" aria-hidden="true">
    <i ref=${(el) => { if (el) el.style.width = `${width}%`; }}></i>
    ${typeof row.limit === "number" && row.limit < NO_LIMIT && html`<b ref=${(el) => { if (el) el.style.left = `${share(row.limit)}%`; }}></b>`}
  </div>`;
}

export function Numbers({ rows }) {
  return html`<table class="numbers"><caption hidden>values</caption><tbody>
    ${rows.map((row) => html`<tr key=${row.id} class=${typeof row.limit === "number" && row.value > row.limit ? "over" : ""}>
      <td title=${row.name}>${row.name}</td>
      <td class="value">${fixed(row.value, row.digits)}</td>
      <td class="dim">${row.unit}${typeof row.sigma === "number" ? html` <span class="num">\u00b1${fixed(row.sigma)}</span>` : ""}</td>
      <td><${Bar} row=${row} /></td>
      <td class="num dim">${typeof row.limit === "number" && row.limit < NO_LIMIT ? `lim ${row.limit >= 1000 ? row.limit.toExponential(0) : row.limit}` : ""}</td>
    </tr>`)}
  </tbody></table>`;
}

export function beam() {
  const device = store.welcome.therapy;
  if (!device || !store.state) return null;
  const reading = Object.values(store.state.readings).find((r) => "power_w" in r);
  return reading ? { power: reading.power_w, set: reading.set_power_w } : { power: null, set: null };
}

export function Status() {
  const phase = store.live && store.state ? store.state.phase : "--";
  const now = beam();
  const on = store.live && now && now.power > 0;
  return html`<div class="status">
    <span class="t1 strong" id="phase">${phase}</span>
    ${now && html`<span class="beam t1 ${on ? "on" : ""}">BEAM<span class="lamp">${on ? "\u2600" : "\u2715"}</span>${store.live ? (on ? "ON " : "OFF") : "---"}</span>`}
    ${now && html`<span class="t2 num strong watt">${fixed(now.power, 0)} W</span>`}
    ${store.state && store.state.gate && html`<span class="t2 gate">GATE auto ${store.live ? (store.state.gate.open ? "OPEN" : "CLOSED") : "---"}</span>`}
  </div>`;
}

const SHORT = { thermometry: "MR", ultrasound: "US" };

export function Streams() {
  const rows = store.state ? Object.entries(store.state.streams) : [];
  return html`<div class="streams" aria-label="streams">${rows.map(([name, s]) => html`<span key=${name}
    class=${store.live && !s.live ? "stale" : ""}>${SHORT[name] || name} ${store.live && !s.live ? "NOT LIVE" : age(s.age_ms)}</span>`)}</div>`;
}

// What the gate did in all: told when the treatment is verified, not while it is watched.
export const isGate = (row) => GATE.includes(row.id);
const GATE = ["duty", "residual", "residual_max", "ungated"];
const LATER = GATE.slice(2);

// A number of the aim: of a tool against its trajectory.
export const isAim = (row) => row.id.includes("_mm") || row.unit === "deg";

export function Side() {
  const all = store.state ? store.state.numbers : [];
  const rows = all.filter((n) => !LATER.includes(n.id) && !/\.(mean_c|\w*coverage\w*)$/.test(n.id) && (!store.welcome.thermometry || (!isAim(n) && !n.name.startsWith("dose max"))));
  return html`<aside aria-label="values">
    <${Status} />
    <${Numbers} rows=${rows.slice(0, 6)} />
    <${Graphs} />
    <${Streams} />
  </aside>`;
}
