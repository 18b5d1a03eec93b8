// What was done where: the acts that choose a way and record a tool, and the tables of what was recorded.
import { html } from "/static/vendor/preact-htm.js";
import { act } from "./link.js";
import { pointer, pointers, trajectory } from "./planes.js";
import { fixed, inControl, set, store } from "./store.js";
import { drawAll, followCrosshair } from "./views.js";

const WORDS = { CORE: "core taken here", PLACE: "left here", VERIFY: "verify" };
const HIT = { certain: "in by", possible: "perhaps, by", missed: "missed by" };

// The trajectories that the aimed tool may follow, in the plan's order.
const ways = () => store.welcome.plan.trajectories.filter((way) => !way.tool || way.tool === pointer());

function nextTool() {
  const tools = pointers();
  set({ tool: tools[(tools.indexOf(pointer()) + 1) % tools.length] });
  followCrosshair();
  drawAll();
}

function aimAt(step) {
  const rows = ways();
  const now = rows.findIndex((way) => way.name === (trajectory() || {}).name);
  return act("AIM", { values: { name: `${pointer()} ${rows[(now + step + rows.length) % rows.length].name}` } });
}

export function RecordActs() {
  const { offered } = store.welcome;
  if (!offered.length) return null;
  const off = !store.live || !inControl();
  const rows = offered.includes("AIM") ? ways() : [];
  const now = rows.findIndex((way) => way.name === (trajectory() || {}).name);
  return html`<div class="records" aria-label="way and records">
    ${pointers().length > 1 && html`<button onClick=${nextTool} aria-label="next tool">tool<br /><b class="strong">${pointer()}</b></button>`}
    ${rows.length > 1 && html`<button disabled=${off} onClick=${() => aimAt(-1)} aria-label="way before">\u25C0</button>
      <span class="way"><b class="strong">${rows[now] ? rows[now].name : "no way"}</b><br /><span class="dim">way ${now + 1} of ${rows.length}</span></span>
      <button disabled=${off} onClick=${() => aimAt(1)} aria-label="next way">\u25B6</button>`}
    ${offered.filter((verb) => WORDS[verb]).map((verb) => html`<button key=${verb} disabled=${off}
      onClick=${() => act(verb, { values: verb === "VERIFY" ? {} : { name: pointer() } })}>${WORDS[verb]}</button>`)}
  </div>`;
}

function Cores({ cores }) {
  const targets = Object.keys(cores[0].hits);
  return html`<h2>Cores taken</h2><table><thead><tr><th class="num">core</th><th>tool</th>${targets.map((name) => html`<th key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${cores.map((core) => html`<tr key=${core.number}><td class="num">${core.number}</td><td>${core.tool}</td>
      ${targets.map((name) => html`<td key=${name} class=${core.hits[name] === "certain" ? "strong" : ""}>${HIT[core.hits[name]]} ${fixed(Math.abs(core.depth_mm[name]))} mm</td>`)}</tr>`)}</tbody></table>`;
}

function Placed({ placed }) {
  return html`<h2>Left in place</h2><table><thead><tr><th>way or tool</th><th class="num">tip RAS mm</th><th class="num">1 sigma mm</th></tr></thead>
    <tbody>${placed.map((row) => html`<tr key=${row.name}><td>${row.name}</td><td class="num">${row.tip_mm.map((x) => x.toFixed(1)).join(" ")}</td><td class="num">${fixed(row.sigma_mm)}</td></tr>`)}</tbody></table>`;
}

function Results({ results }) {
  return html`<h2>Treated zone against the plan</h2><table><tbody>${results.map((row, n) => html`<tr key=${n}>
    <td>${row.name}</td><td class="num strong">${fixed(row.value, row.digits)}</td><td class="dim">${row.unit}</td></tr>`)}</tbody></table>`;
}

// Tables of everything that was recorded; a sentence where nothing was yet and something could be.
export function Records() {
  const { offered } = store.welcome;
  if (!store.state || !offered.length) return null;
  const { cores, placed, results } = store.state.records;
  const can = offered.filter((verb) => verb !== "AIM");
  if (can.length && !cores.length && !placed.length && !results.length) return html`<p class="dim">Nothing is recorded yet: the target step has the acts.</p>`;
  return html`${cores.length > 0 && html`<${Cores} cores=${cores} />`}${results.length > 0 && html`<${Results} results=${results} />`}${placed.length > 0 && html`<${Placed} placed=${placed} />`}`;
}
