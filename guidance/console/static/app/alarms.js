// The alarm row: highest first, newest first, never rotating. Shape, colour and word say the priority together.
import { html } from "/static/vendor/preact-htm.js";
import { act } from "./link.js";
import { clock, nsToMs, set, store } from "./store.js";
import { sound } from "./sound.js";

const ORDER = { high: 0, medium: 1, low: 2 };
const PAUSE_S = 120;
const LONG_REM = 47; // what fits in one line beside the time
let pausedFor = "";

const TRIANGLE = (x) => `M${x} 30L${x + 14} 4L${x + 28} 30Z`;
const SHAPES = {
  high: `${TRIANGLE(0)}${TRIANGLE(30)}${TRIANGLE(60)}`,
  medium: `${TRIANGLE(15)}${TRIANGLE(45)}`,
  low: "M32 4H58V30H32Z",
};

export const Shape = ({ priority }) => html`<svg viewBox="-1 2 90 30" aria-hidden="true">
  <path d=${SHAPES[priority]} fill="currentColor" />
  ${priority === "low" && html`<path d="M45 8v4M45 14v12" stroke="var(--low)" stroke-width="3" fill="none" />`}
</svg>`;

const ruler = document.createElement("canvas").getContext("2d");
const lengths = new Map();

// Whether a text needs two lines of the first tier, 2.25 rem.
function isLong(text) {
  if (lengths.size > 50) lengths.clear();
  if (!lengths.has(text)) {
    ruler.font = '700 225px B612, "DejaVu Sans", sans-serif';
    lengths.set(text, ruler.measureText(text).width / 100);
  }
  return lengths.get(text) > LONG_REM;
}

const word = (alarm) => `${alarm.priority.toUpperCase()}${alarm.kind === "technical" ? " TECH" : ""}`;

export function status(alarm) {
  if (alarm.state === "latched") return "cleared, RESET";
  return alarm.state === "acknowledged" ? `acked ${alarm.acknowledged_by}` : "";
}

// Why an act is refused: the alarm's own words and what to do, where the reason names an alarm.
export function inWords(reason) {
  const [, id, rest] = reason.match(/^(\S+) is (present|latched)/) || [];
  const { alarms = [], standing = [] } = store.state || {}; // standing: keeps energy off, and is no news yet
  const alarm = [...alarms, ...standing].find((row) => row.id === id);
  if (!alarm) return reason.replaceAll("_", " ");
  return `${alarm.text}: ${rest === "latched" ? "over, RESET it" : alarm.advice}`;
}

function Banner({ alarm }) {
  const text = `${alarm.text}`;
  return html`<div class="alarm ${alarm.priority} ${alarm.state}" role="alert" data-id=${alarm.id}>
    <span class="edge"></span>
    <div><div class="shape"><${Shape} priority=${alarm.priority} /></div><div class="word">${word(alarm)}</div></div>
    <div class="lines">
      <div class="line1 ${isLong(text) ? "long" : ""}">
        <span class="text">${text}</span> <span class="since">since ${clock(nsToMs(alarm.first_ns))}</span>
      </div>
      <div class="line2"><span class="done">Done: ${alarm.done}${status(alarm) || store.state.calling ? "" : "."}</span>
        ${status(alarm) && html`<span class="what">- ${status(alarm)}.</span> `}${store.state.calling && html`<b class="what">Nobody answered: ${store.state.calling} is called.</b> `}<b class="do">Do: ${alarm.advice}.</b></div>
    </div>
  </div>`;
}

function Quiet() {
  const ms = store.live ? Math.max(0, performance.now() - store.heardAt) / 1000 : null;
  return html`<div class="quiet">= no alarm - checked <span class="num">${ms === null ? "-.-" : ms.toFixed(1)}</span> s ago</div>`;
}

export const paused = () => Boolean(store.live && store.state && store.state.paused_ms > 0);

export function mute() {
  const top = store.state && store.state.alarms[0];
  pausedFor = top ? top.priority : "low";
  return act("AUDIO_PAUSE", { values: { seconds: paused() ? 0.1 : PAUSE_S } });
}

// What should be heard now. The service ends the pause for a new HIGH alarm; a higher one breaks it here.
export function annunciate() {
  if (!store.live) { sound("lost"); return; }
  const active = store.state.alarms.filter((a) => a.state === "active");
  const breaks = active.some((a) => ORDER[a.priority] < ORDER[pausedFor || "high"]);
  const top = active.reduce((best, a) => (best && ORDER[best] <= ORDER[a.priority] ? best : a.priority), "");
  sound(paused() && !breaks ? "" : top);
}

export function acknowledge(alarm = "") {
  return act("ACKNOWLEDGE", { values: { alarm } });
}

function List({ alarms }) {
  return html`<div class="alarm-list" role=${store.wide ? "region" : "dialog"} aria-label="all alarms" tabindex="0"><ul>
    ${alarms.map((a) => html`<li key=${a.id}>
      <span class="chip ${a.priority}"><${Shape} priority=${a.priority} /></span>
      <span><b class="strong">${word(a)} ${a.text}</b> since ${clock(nsToMs(a.first_ns))}
        <br />Done: ${a.done}${status(a) && ` - ${status(a)}`}. Do: ${a.advice}.</span>
      <button onClick=${() => acknowledge(a.id)} disabled=${a.state !== "active"}>ACK</button>
    </li>`)}
    ${!alarms.length && html`<li><span></span><span>no alarm</span></li>`}
  </ul></div>`;
}

export const AlarmList = () => (store.wide || store.open === "alarms") && store.state && html`<${List} alarms=${store.state.alarms} />`;

export function AlarmRow() {
  const alarms = store.state ? store.state.alarms : [];
  const left = paused() ? Math.ceil(store.state.paused_ms / 1000) : 0;
  const role = store.welcome && store.welcome.role;
  return html`<section class="alarms" aria-label="alarms" aria-live="assertive">
    ${alarms.length ? html`<${Banner} alarm=${alarms[0]} key=${alarms[0].id} />` : html`<${Quiet} />`}
    <div class="alarm-keys">
      <button onClick=${() => acknowledge()} disabled=${!store.live || role === "viewer" || !alarms.some((a) => a.state === "active")}>ACK<br />[A]</button>
      <button onClick=${mute} aria-pressed=${paused()} disabled=${!store.live || role === "viewer" || (!alarms.length && !paused())}>${paused() ? html`MUTED<br />${left} s` : html`MUTE<br />[M]`}</button>
      <button hidden=${store.wide} onClick=${() => set({ open: store.open === "alarms" ? "" : "alarms" })} aria-expanded=${store.open === "alarms"}>
        ${alarms.length > 1 ? `+${alarms.length - 1}` : alarms.length}<br />${store.open === "alarms" ? "close" : "list"}</button>
    </div>
  </section>`;
}
