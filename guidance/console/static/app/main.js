// The page: one frame for every step, drawn from the store, kept honest by the beat.
import { html, render } from "/static/vendor/preact-htm.js";
import { Acts, control, Drawer } from "./acts.js";
import { AlarmList, AlarmRow, annunciate, inWords } from "./alarms.js";
import { answerLease, beat, lapse, watchFrames } from "./beat.js";
import { watchKeys } from "./keys.js";
import { connect, on, readToken } from "./link.js";
import { ConnectionsPage, KeyCard, MissingList, PlanPage, VerifyPage } from "./pages.js";
import { Places } from "./places.js";
import { trajectory } from "./planes.js";
import { Numbers, Side, Status } from "./side.js";
import { clock, inControl, onChange, serviceMs, set, store } from "./store.js";
import { TargetPage, TargetSide } from "./target.js";
import { Graph } from "./graphs.js";
import { drawAll, followCrosshair, followOutlines, panes, Views } from "./views.js";

const WIDE_PX = 2560;

const KEPT_MS = 120_000;
const STEPS = ["plan", "target", "monitor", "control", "verify", "connections"];

function Steps() {
  const missing = store.state ? store.state.steps : {};
  return html`<nav aria-label="steps">${STEPS.map((step) => {
    const count = (missing[step] || []).length;
    return html`<button key=${step} aria-current=${store.step === step ? "page" : null}
      onClick=${() => set({ step, open: count && store.step === step ? `missing:${step}` : "", enlarged: "", follow: step === "target" ? "tip" : "target" })}>
      ${step[0].toUpperCase() + step.slice(1)}${count ? html`<span class="count" title="missing">${count}</span>` : ""}</button>`;
  })}</nav>`;
}

function Control() {
  const { role, actor } = store.welcome;
  const holder = store.state ? store.state.control : "";
  if (role !== "operator") return html`<span class="dim">${role === "viewer" ? "READ ONLY" : actor}</span>`;
  return html`<button onClick=${control} disabled=${!store.live} aria-pressed=${inControl()}>${inControl() ? `${actor}: CONTROL` : holder ? `${holder}: CONTROL` : "TAKE CONTROL"}</button>`;
}

function Header() {
  const { title, plan, training, room } = store.welcome;
  return html`<header>
    <span class="mark">RESEARCH${training ? " TRAINING" : ""}</span>
    <span class="what" title=${title}><b class="strong">${title}</b> ${room}</span><span class="hash">plan ${plan ? plan.sha256.slice(0, 8) : "none"}</span>
    ${store.keysOff && html`<span class="keys-off">KEYS OFF, click</span>`}
    <${Steps} /><${Control} />
    <button onClick=${() => set({ open: store.open === "keys" ? "" : "keys" })} aria-label="keys">?</button>
    <span class="clock">${store.live ? clock(serviceMs()) : "--:--:--"}</span>
  </header>`;
}

const TargetStep = () => (store.welcome.plan && !trajectory() ? html`<${Views} /><aside aria-label="values"><${Status} /><div id="aim" class="t2">The plan has no way in: the target is to be where it was planned.</div>
  <${Numbers} rows=${store.state ? store.state.numbers.slice(0, 4) : []} /><div class="graphs"><${Graph} key="ages" kind="ages" /></div></aside>` : html`<${TargetPage} /><aside aria-label="values"><${Status} /><${TargetSide} /><div class="graphs"><${Graph} key="ages" kind="ages" /></div></aside>`);
const MonitorStep = () => html`<${Views} /><${Side} />`;
const NOTHING = { IDLE: "nothing: it can be armed", READY: "nothing: it can be started", TREATING: "nothing: energy may flow", HOLD: "nothing: it can be resumed" };
const ControlStep = () => html`<${Views} /><aside aria-label="values"><${Status} />
  <${Numbers} rows=${store.state ? store.state.numbers.slice(0, 7) : []} /><${Places} /><h3 class="t2">${store.welcome.therapy ? "Missing before energy may flow" : "This room has no energy device: there is nothing to arm"}</h3>
  <ul tabindex="0" class="missing">${(store.state ? store.state.steps.control : []).slice(0, 12).map((r) => html`<li key=${r}>${inWords(r)}</li>`)}
  ${store.welcome.therapy && store.state && !store.state.steps.control.length && html`<li>${NOTHING[store.state.phase] || "nothing"}</li>`}</ul></aside>`;
const PAGES = { plan: PlanPage, target: TargetStep, monitor: MonitorStep, control: ControlStep, verify: VerifyPage, connections: ConnectionsPage };

function App() {
  if (!store.welcome) return html`<header><span class="mark">RESEARCH</span><h1 class="t2">guidance console</h1><span>${store.why}</span></header>`;
  const Page = PAGES[store.step];
  return html`<${Header} /><${AlarmRow} />
    <main class=${store.wide ? "wide" : ""}><${Page} key=${store.step} /><${AlarmList} /><${MissingList} /><${KeyCard} /><${Drawer} /></main><${Acts} />`;
}

const root = document.getElementById("app");
const draw = () => render(html`<${App} />`, root);
let soon = false;
onChange(() => {
  if (soon) return;
  soon = true;
  requestAnimationFrame(() => { soon = false; draw(); });
});

on("welcome", (message) => {
  const plan = message.plan;
  const at = plan && plan.targets.length ? plan.targets[0].center_mm : [0, 0, 0];
  Object.assign(store, { welcome: message, state: null, history: message.history, frames: new Map(), outlines: null, heardTone: store.heardTone, drawer: null });
  if (store.follow === "target") Object.assign(store, { crosshair: at, center: at });
  document.title = `${message.training ? "TRAINING " : ""}${message.title} - guidance console`;
});

on("state", (message) => {
  const now = performance.now();
  const offset = message.now_ns / 1e6 - now;
  store.offsetMs = store.offsetMs === null || Math.abs(offset - store.offsetMs) > 1000 ? offset : Math.max(offset, store.offsetMs);
  Object.assign(store, { state: message, heardAt: now });
  const last = store.history[store.history.length - 1];
  if (!last || message.sample.t_ms - last.t_ms >= 180) {
    store.history.push(message.sample);
    while (store.history.length && message.sample.t_ms - store.history[0].t_ms > KEPT_MS) store.history.shift();
  }
  beat(() => { followCrosshair(); draw(); followOutlines(); if (store.follow === "tip") drawAll(); else panes.forEach((p) => p.last && p.overlay(p.last, store.frames.get("volume"))); });
});

on("lease", (message) => { store.leaseRefused = message.live ? "" : message.refused; answerLease(message); });

const measureWidth = () => { if (store.wide !== innerWidth >= WIDE_PX) set({ wide: innerWidth >= WIDE_PX }); };
addEventListener("resize", measureWidth);
measureWidth();
setInterval(annunciate, 200);
// What is written after a loss must not be fetched then: a browser fetches a font only where it first writes with it. It reports a failure itself.
document.fonts.forEach((face) => face.load().catch(() => face.status));
readToken();
watchKeys();
watchFrames();
draw();
connect((reason) => lapse(reason === "link lost" ? "link lost" : `link lost: ${reason}`));
