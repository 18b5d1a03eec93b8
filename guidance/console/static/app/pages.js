// The steps beside monitoring: plan, verify, connections; what a step lacks; the key card.
import { html } from "/static/vendor/preact-htm.js";
import { inWords } from "./alarms.js";
import { Graph } from "./graphs.js";
import { Records } from "./records.js";
import { Space } from "./space.js";
import { isAim, isGate, Numbers } from "./side.js";
import { age, clock, fixed, set, store } from "./store.js";
import { TREATED_MIN } from "./overlay.js";

const UNIT = { c_per_s: "degC/s", per_s: "/s", cem43_min: "CEM43 min", c: "degC", mm: "mm", ms: "ms", deg: "deg", w: "W" };
const NAMED = new RegExp(`^(.+?)_(${Object.keys(UNIT).join("|")})$`);

// Numbers of the heated target: of all its tissue, as the filter knows it.
const HEATED = /\.(t\d0_c|\w*coverage\w*|release_mean|window_share)$/;

// A key of settings as words, and its unit, which the key ends with.
const words = (key) => key.replace(NAMED, "$1").replaceAll("_", " ");
const unitOf = (key) => (NAMED.test(key) ? ` ${UNIT[NAMED.exec(key)[2]]}` : "");

const list = (limits) => Object.entries(limits).map(([k, v]) => `${words(k)} ${v}${unitOf(k)}`).join(", ") || "-";

export function PlanPage() {
  const plan = store.welcome.plan;
  if (!plan) return html`<div class="page whole"><h2>No plan is loaded</h2><p>Load a plan in the room's configuration (plan = "...").</p></div>`;
  return html`<div class="page whole" tabindex="0"><h2>${plan.name}</h2>
    <div class="columns"><div>
      <table><tbody>
        <tr><th>patient</th><td>${plan.patient}, ${plan.laterality}</td></tr>
        <tr><th>plan SHA-256</th><td class="hash">${plan.sha256}</td></tr>
        <tr><th>settings SHA-256</th><td class="hash">${store.welcome.settings_sha256}</td></tr>
      </tbody></table>
      <h2>Targets and ways in</h2>
      <table><thead><tr><th>target</th><th class="num">centre RAS mm</th><th class="num">margin mm</th><th>prescription</th></tr></thead><tbody>
        ${plan.targets.map((t) => html`<tr key=${t.name}><td>${t.name}</td><td class="num">${t.center_mm.map((x) => x.toFixed(1)).join(" ")}</td><td class="num">${t.margin_mm.toFixed(1)}</td><td>${list(t.prescription)}</td></tr>`)}
      </tbody></table>
      <table><thead><tr><th>trajectory</th><th>tool</th><th class="num">corridor mm</th><th class="num">angle deg</th></tr></thead><tbody>
        ${plan.trajectories.map((t) => html`<tr key=${t.name}><td>${t.name}</td><td>${t.tool || "any"}</td><td class="num">${t.corridor_mm.toFixed(1)}</td><td class="num">${t.max_angle_deg.toFixed(1)}</td></tr>`)}
      </tbody></table>
      <h2>Structures and their limits</h2>
      <table><thead><tr><th>structure</th><th>role</th><th>limits</th><th>measured in</th></tr></thead><tbody>
        ${plan.structures.map((s) => html`<tr key=${s.name}><td>${s.name}</td><td>${s.role.replaceAll("_", " ")}</td><td>${list(s.limits)}</td><td>${s.surrogate || "itself"}</td></tr>`)}
      </tbody></table>
    </div><div>
      <h2>Limits of the room and their sources</h2>
      <table><thead><tr><th>limit</th><th class="num">value</th><th>unit</th><th>source</th></tr></thead><tbody>
        ${Object.entries(store.welcome.limits).map(([name, l]) => html`<tr key=${name}><td>${words(name)}</td><td class="num">${l.value}</td><td>${l.unit}</td><td>${l.source}</td></tr>`)}
      </tbody></table>
    </div></div></div>`;
}

export function VerifyPage() {
  const regions = store.state ? store.state.regions : {};
  const { plan, thermometry } = store.welcome;
  const numbers = store.state ? store.state.numbers : [];
  if (!thermometry) {
    const gated = numbers.some(isGate);
    return html`<div class="views one"><${Space} /></div>
    <aside class="page" tabindex="0">${gated && html`<h2>What the gate let through</h2><${Numbers} rows=${numbers.filter(isGate)} />
      <p class="dim">Of the gate since the service began, whether energy flowed or not. The report shows the power that the device told.</p>`}
      ${(!gated || numbers.some(isAim)) && html`<h2>Tool against the plan</h2>
      <${Numbers} rows=${numbers.filter(isAim)} />
      <p class="dim">${numbers.some(isAim) ? "Of the first tool that is aimed along a trajectory." : "No tool is placed along a trajectory."} This room has no thermometry.</p>`}<${Records} /></aside>`;
  }
  return html`<div class="views one"><${Space} /></div>
    <aside class="page" tabindex="0"><h2>Treated zone against the plan</h2>
      ${plan && plan.targets.map((t) => {
    const r = regions[t.structure] || {};
    const rows = store.welcome.scale.cold ? numbers.filter((n) => n.id.startsWith(`${t.structure}.`)) : [
      { id: "c", name: `${t.name} at ${TREATED_MIN} CEM43`, value: r.treated === undefined ? null : 100 * r.treated, unit: "%", digits: 0, limit: null },
      { id: "d", name: "highest dose", value: r.dose_min, unit: "CEM43 min", digits: 0, limit: null },
      { id: "t", name: "T max now", value: r.max_c, unit: "degC", digits: 1, limit: null, sigma: r.sigma_c },
      ...numbers.filter((n) => n.id.startsWith(`${t.structure}.`) && HEATED.test(n.id)),
      { id: "s", name: "seen by thermometry", value: r.seen === undefined ? null : 100 * r.seen, unit: "%", digits: 0, limit: null },
    ];
    return html`<h2 key=${t.name}>${t.name}, margin ${t.margin_mm} mm</h2><${Numbers} rows=${rows} />`;
  })}
      <${Records} />
      <h2>Dose of what must be spared</h2>
      <${Numbers} rows=${numbers.filter((n) => n.unit === "CEM43 min" && !n.name.startsWith("dose max"))} />
      <p class="dim">Display numbers: of the imaged slices, and of the whole target where heating is planned. They decide nothing; the rules have their own.</p>
    </aside>`;
}

export function ConnectionsPage() {
  const s = store.state;
  if (!s) return html`<div class="page whole">waiting</div>`;
  return html`<div class="page whole" tabindex="0"><div class="beside"><div><h2>Links</h2>
    <table><thead><tr><th>link</th><th>kind</th><th>role</th><th>state</th><th class="num">lost</th><th>last error</th></tr></thead><tbody>
      ${Object.entries(s.links).map(([name, l]) => html`<tr key=${name} class=${l.up === false ? "stale" : ""}><td>${name}</td><td>${l.kind}</td><td>${l.role}</td>
        <td>${l.up ? "up" : l.up === false ? "DOWN" : "no peer yet"}</td><td class="num">${l.lost}</td><td>${l.error}</td></tr>`)}
    </tbody></table></div><div class="age-graph"><${Graph} kind="ages" /></div></div>
    <h2>Streams</h2>
    <table><thead><tr><th>stream</th><th>kind</th><th>link</th><th>state</th><th class="num">age</th><th class="num">limit</th><th class="num">received</th><th class="num">dropped</th><th class="num">rejected</th><th class="num">longest gap</th></tr></thead><tbody>
      ${Object.entries(s.streams).map(([name, row]) => { const w = store.welcome.streams[name]; return html`<tr key=${name} class=${row.live ? "" : "stale"}>
        <td>${name}</td><td>${w.kind}</td><td>${w.link}</td><td>${row.live ? "live" : "NOT LIVE"}</td><td class="num">${age(row.age_ms)}</td><td class="num">${w.limit_ms.toFixed(0)} ms</td>
        <td class="num">${row.received}</td><td class="num">${row.dropped}</td><td class="num">${row.rejected}</td><td class="num">${fixed(row.gap_max_ms, 0)} ms</td></tr>`; })}
    </tbody></table>
    <h2>Consoles</h2>
    <table><thead><tr><th>console</th><th>annunciating</th><th>control</th></tr></thead><tbody>
      ${Object.entries(s.consoles).map(([actor, live]) => html`<tr key=${actor}><td>${actor}${actor === store.welcome.actor ? " (this page)" : ""}</td><td>${live ? "yes" : "no"}</td><td>${s.control === actor ? "CONTROL" : ""}</td></tr>`)}
    </tbody></table>
    <p class="dim">This page: ${store.leaseRefused ? `lease not confirmed: ${store.leaseRefused}` : "lease confirmed"}. Settings ${store.welcome.settings_sha256.slice(0, 12)}.</p></div>`;
}

export function MissingList() {
  if (!store.open.startsWith("missing:") || !store.state) return null;
  const step = store.open.slice(8);
  const rows = store.state.steps[step] || [];
  return html`<div class="missing-list" role="dialog" aria-label="missing"><b class="strong t2">${step}: ${rows.length} missing</b>
    <ul tabindex="0">${rows.map((r) => html`<li key=${r}>${inWords(r)}</li>`)}</ul><button onClick=${() => set({ open: "" })}>Close</button></div>`;
}

const KEYS = [
  ["Space", "STOP, from anywhere, also without control"], ["A", "acknowledge the shown alarms"], ["M", "pause the sound for two minutes"],
  ["left drag", "crosshair, linked in all views"], ["wheel, Up, Down", "slice"], ["Ctrl+wheel, + -", "zoom"], ["middle drag", "pan"],
  ["right drag", "window and level"], ["[ ]", "opacity of the overlay"], ["double click, 1-4", "enlarge a view; 0 shows all"],
  ["P, click, Enter", "watch a region at the crosshair; Shift+Enter guards it"], ["G", "next lower graph"], ["V", "next live picture"], ["T", "light or dark"], ["Tab, Enter", "controls"], ["?", "this card"],
];

export function KeyCard() {
  if (store.open !== "keys") return null;
  return html`<div class="card" role="dialog" aria-label="keys"><h2>Keys</h2><table><tbody>
    ${KEYS.map(([key, does]) => html`<tr key=${key}><td><kbd>${key}</kbd></td><td>${does}</td></tr>`)}</tbody></table>
    <p>Axial and coronal views are shown in the radiological convention: the patient's right is on your left. Sagittal: anterior is on your left.
      This is research software. STOP is a request to the devices, not the emergency stop. Service time ${clock(store.lastMs)}.</p>
    <button onClick=${() => set({ open: "" })}>Close</button></div>`;
}
