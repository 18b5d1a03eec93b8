// Everything the page knows, in one object. Whoever draws reads it; whoever learns something writes it.
export const store = {
  welcome: null, // what the service said once
  state: null, // its newest state message
  heardAt: 0, // performance.now() of that message
  offsetMs: null, // service clock minus ours, the smallest seen
  live: false, // a heartbeat was drawn within the limit
  why: "not connected yet",
  lastMs: 0, // service time of the last drawn heartbeat
  step: "monitor",
  theme: "dark",
  enlarged: "",
  layer: "temperature",
  opacity: 0.65,
  window: {}, // view -> {low, high} as shares of the brightest value
  crosshair: [0, 0, 0],
  center: [0, 0, 0],
  zoom: 1,
  follow: "target",
  outlines: null,
  frames: new Map(), // stream -> newest parsed frame
  history: [],
  verdict: null,
  drawer: null,
  open: "", // "alarms" | "keys" | "missing:STEP"
  placing: false,
  tool: "", // the tool that the target step looks at; "" = the first that follows a trajectory
  liveChoice: 0, // which live picture the fourth view shows
  lower: "", // kind of the lower graph; "" = the first that fits
  wide: false, // three columns
  heardTone: false,
};

const listeners = new Set();
export const changed = () => listeners.forEach((draw) => draw());
export const onChange = (draw) => listeners.add(draw);
export const set = (values) => { Object.assign(store, values); changed(); };

// Service time in ms now, as well as the page knows it.
export const serviceMs = () => (store.offsetMs === null ? 0 : performance.now() + store.offsetMs);
export const clock = (ms) => (ms ? new Date(ms).toTimeString().slice(0, 8) : "--:--:--");
export const nsToMs = (ns) => ns / 1e6;

const MOST = 1e5; // a dose can pass a million: its figures would push the limit off the page

// Numbers keep their decimals and their place; what is missing or not live has none.
export function fixed(value, digits = 1) {
  if (!store.live || typeof value !== "number" || !Number.isFinite(value)) return digits ? `--.${"-".repeat(digits)}` : "--";
  if (Math.abs(value) >= MOST) return value.toExponential(1).replace("+", "");
  return (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits); // never -0.0
}
export const age = (ms) => (typeof ms === "number" && store.live ? `${(ms / 1000).toFixed(ms < 1000 ? 2 : 1)}s` : "-.--s");
export const inControl = () => Boolean(store.state && store.welcome && store.state.control === store.welcome.actor);

// Ends of bars and graphs of temperatures: a little more than the room's colours.
export const temperatures = () => [store.welcome.scale.ends_c[0] - 2, store.welcome.scale.ends_c[1] + 2];
