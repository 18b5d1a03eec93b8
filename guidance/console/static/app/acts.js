// The bar of acts. No optimistic UI: a button says requested, the core's verdict says what became of it.
import { html } from "/static/vendor/preact-htm.js";
import { inWords } from "./alarms.js";
import { act, ask } from "./link.js";
import { LAYERS } from "./overlay.js";
import { play } from "./sound.js";
import { fixed, inControl, set, store } from "./store.js";
import { guardLimit, place } from "./places.js";
import { drawAll, followCrosshair } from "./views.js";

const FIRST = { IDLE: "ARM", READY: "START", HOLD: "RESUME" };
const FOLLOWED = { target: "tip", tip: "free", free: "target" };
const WORDS = { ARM: "Arm", START: "Start", RESUME: "Resume" };

export const stop = () => act("STOP");

let polling = 0;
export function closeDrawer() {
  clearInterval(polling);
  set({ drawer: null });
}

// First step: every precondition with its value, and a ticket for what is shown.
export async function openDrawer(verb) {
  clearInterval(polling);
  set({ drawer: { verb, rows: [], prepared: null, until: 0 }, open: "" });
  const fill = async () => {
    const answer = await ask({ kind: "preconditions" });
    if (answer && store.drawer) set({ drawer: { ...store.drawer, rows: answer.rows } });
  };
  await fill();
  const prepared = await ask({ kind: "prepare", verb });
  if (store.drawer) set({ drawer: { ...store.drawer, prepared, until: performance.now() + (prepared ? prepared.lives_ms || 0 : 0) } });
  polling = setInterval(fill, 500);
}

async function confirm() {
  const { verb, prepared } = store.drawer;
  set({ drawer: { ...store.drawer, waiting: true } });
  await act(verb, { ticket: prepared.ticket, shown: prepared.shown });
  closeDrawer();
}

const shownValue = (v) => (typeof v === "number" ? (Math.abs(v) >= 1000 ? v.toExponential(1) : v.toFixed(2)) : "--.-");

export function Drawer() {
  const drawer = store.drawer;
  if (!drawer) return null;
  const { verb, rows, prepared, until, waiting } = drawer;
  const bad = rows.filter((r) => !r.ok).length;
  const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
  const shown = prepared && prepared.shown;
  const label = shown ? `CONFIRM ${verb} ${shown.power_w ?? "-"} W, plan ${shown.plan}` : "waiting for the service";
  return html`<section class="drawer" role="dialog" aria-label=${`${verb}: preconditions`}>
    <div class="t2 strong">${WORDS[verb]}: ${rows.length - bad} of ${rows.length} preconditions hold${bad ? html`, <b>${bad} MISSING</b>` : ""}</div>
    <div class="rows" tabindex="0"><table><thead><tr><th>precondition</th><th>of</th><th>value</th><th>limit</th><th>age</th><th>state</th></tr></thead><tbody>
      ${rows.map((r) => html`<tr key=${r.name + r.subject} class=${r.ok ? "" : "missing"}>
        <td>${r.name.replaceAll("_", " ")}</td><td>${r.subject}</td><td class="num">${shownValue(r.value)}</td>
        <td class="num">${r.compare === "above" ? "\u2264" : "\u2265"} ${shownValue(r.limit)}</td>
        <td class="num">${typeof r.age_ms === "number" ? `${(r.age_ms / 1000).toFixed(2)}s` : "fixed"}</td>
        <td class=${r.ok ? "word-ok" : "word-no"}>${r.ok ? "OK" : "MISSING"}</td></tr>`)}
    </tbody></table></div>
    ${prepared && prepared.reasons.length ? html`<div class="strong">${prepared.reasons.map(inWords).join("; ")}</div>` : ""}
    <div class="acts">
      <button onClick=${closeDrawer}>Cancel</button>
      <button class="t2" onClick=${confirm} disabled=${!store.live || !prepared || !prepared.ticket || !left || waiting || bad > 0}>
        ${waiting ? "waiting for the core" : left ? `${label} (${left} s)` : prepared ? "too late: cancel and begin again" : label}</button>
    </div>
  </section>`;
}

function verdictText() {
  const v = store.verdict;
  if (!v) return "";
  const reasons = v.reasons && v.reasons.length ? `: ${inWords(v.reasons[0])}${v.reasons.length > 1 ? ` and ${v.reasons.length - 1} more` : ""}` : "";
  return `${v.verb} ${v.state}${reasons}`;
}

function Looks() {
  const names = Object.keys(LAYERS);
  const next = names[(names.indexOf(store.layer) + 1) % names.length];
  return html`<div class="group">
    <button onClick=${() => { set({ layer: next }); drawAll(); }} aria-label="overlay layer">layer<br />${LAYERS[store.layer].word}</button>
    <label>opacity ${Math.round(store.opacity * 100)} %<input type="range" min="0" max="1" step="0.05" value=${store.opacity}
      onInput=${(e) => { set({ opacity: Number(e.target.value) }); drawAll(); }} /></label>
    <button onClick=${() => { set({ window: {}, zoom: 1 }); followCrosshair(); drawAll(); }}>reset<br />W/L</button>
    <button onClick=${() => { set({ follow: FOLLOWED[store.follow] }); followCrosshair(); drawAll(); }}>follow<br />${store.follow}</button>
  </div>`;
}

// One step of power is a tenth of the room's; the core says what is possible.
function power(way) {
  const step = store.welcome.therapy.power_w / 10;
  const next = Math.max(step, Math.min(store.welcome.therapy.power_w, store.state.power + way * step));
  return act("SET_POWER", { values: { power_w: Math.round(next * 10) / 10 } });
}

export function Acts() {
  const phase = store.state ? store.state.phase : "";
  const may = store.live && inControl();
  const therapy = store.welcome.therapy;
  const latched = Boolean(store.state) && store.state.alarms.some((a) => a.state === "latched");
  const first = latched ? "" : FIRST[phase]; // what is latched is reset before anything goes on
  const live = store.live;
  return html`<footer aria-label="acts">
    <${Looks} />
    ${therapy && html`<div class="group">
      <button disabled=${!may || phase !== "TREATING"} onClick=${() => act("HOLD")}>GATE<br />HOLD</button>
      <span class="power"><button disabled=${!may} onClick=${() => power(-1)} aria-label="less power">-</button>
        <span>power<br /><span class="num strong">${fixed(store.state ? store.state.power : null, 0)} W</span></span>
        <button disabled=${!may || !["IDLE", "STOPPED"].includes(phase)} onClick=${() => power(1)} aria-label="more power">+</button></span>
      ${first ? html`<button class="t2" disabled=${!may || !store.heardTone} aria-expanded=${Boolean(store.drawer)} onClick=${() => openDrawer(first)}>${first}...</button>`
    : html`<button class="t2" disabled=${!may || !(phase === "STOPPED" || latched)} onClick=${() => act("RESET")}>RESET</button>`}
      <button disabled=${!may || !["READY", "TREATING", "HOLD"].includes(phase)} onClick=${() => act("FINISH")}>FINISH</button>
    </div>`}
    ${store.welcome.thermometry && html`<div class="group">
      <button disabled=${!may || phase === "TREATING"} onClick=${() => act("RE_ZERO")}>new<br />baseline</button>
      <button disabled=${!may} aria-pressed=${store.placing} onClick=${() => set({ placing: !store.placing })}>place<br />[P]</button>
    </div>`}
    ${therapy && !store.heardTone && may && html`<div class="group">
      <button onClick=${() => { play("low"); set({ toneAsked: true }); }}>test<br />tone</button>
      ${store.toneAsked && html`<button onClick=${() => set({ heardTone: true })}>I heard<br />it</button>`}
    </div>`}
    ${store.state && live && !may && store.welcome.role === "operator" && html`<div class="note">${store.state.control ? `${store.state.control} has control` : "nobody has control"}: take it above</div>`}
    ${store.placing ? html`<div class="note"><button onClick=${() => place(false)}>WATCH</button> <button onClick=${() => place(true)}>GUARD ${guardLimit()} degC</button></div>`
    : html`<div class="note" role="status">${verdictText()}</div>`}
    <button class="stop" onClick=${stop} aria-label="STOP, Space">
      <svg viewBox="0 0 32 32" aria-hidden="true"><path d="M10 1H22L31 10V22L22 31H10L1 22V10Z" fill="#FFF" /><path d="M11 3.5H21L28.5 11V21L21 28.5H11L3.500 21V11Z" fill="var(--high)" /></svg>
      <span><span class="t1">STOP</span><small>${live && store.welcome.role !== "viewer" ? "Space" : "USE E-STOP"}</small></span>
    </button>
  </footer>`;
}

export function control() {
  const mine = inControl();
  if (mine) return ask({ kind: "control", take: false });
  return ask({ kind: "control", take: true }).then((answer) => {
    if (answer && !answer.done) set({ verdict: { verb: "CONTROL", state: "refused", reasons: answer.reasons, at: performance.now() } });
  });
}

