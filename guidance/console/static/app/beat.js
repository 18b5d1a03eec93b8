// NOT LIVE is the default: only a heartbeat that was drawn hides it, for 600 ms. The lease tells the service the same.
import { send } from "./link.js";
import { set, store } from "./store.js";
import { soundProof } from "./sound.js";

const GAP_MS = 1000;
let frames = 0;
let lastFrame = 0;
let flip = false;
let pending = 0; // the frame in which the next heartbeat is drawn
let lapseTimer = 0;

const whyBox = () => document.getElementById("lapse-why");

export function lapse(why) {
  cancelAnimationFrame(pending); // a heartbeat of before that is not drawn yet proves nothing any more
  pending = 0;
  document.body.classList.add("lapsed");
  if (store.live || store.why !== why) {
    if (store.live) store.lostAt = Date.now();
    set({ live: false, why });
  }
  tell();
}

function tell() {
  const box = whyBox();
  if (!box || store.live) return;
  const since = store.lostAt ? `${new Date(store.lostAt).toTimeString().slice(0, 8)} (${Math.round((Date.now() - store.lostAt) / 1000)} s)` : "";
  const stop = store.why.includes("link") ? " USE THE HARD E-STOP" : "";
  box.textContent = `${store.why} ${since}${stop}`;
}
setInterval(tell, 1000);

// Called with every state message; draws once a frame, newest state only.
export function beat(draw) {
  if (pending) return;
  pending = requestAnimationFrame(() => {
    pending = 0;
    if (document.hidden) return;
    store.live = true;
    store.lostAt = 0;
    draw();
    flip = !flip;
    document.body.classList.remove("lapsed", flip ? "beat-b" : "beat-a");
    document.body.classList.add(flip ? "beat-a" : "beat-b");
    store.lastMs = store.state.now_ns / 1e6;
    clearTimeout(lapseTimer);
    lapseTimer = setTimeout(() => lapse("no heartbeat"), 600);
  });
}

export function watchFrames() {
  const step = (now) => {
    frames += 1;
    if (lastFrame && now - lastFrame > GAP_MS) lapse("the page was frozen");
    lastFrame = now;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
  document.addEventListener("visibilitychange", () => { if (document.hidden) lapse("the page is hidden"); });
  document.addEventListener("freeze", () => lapse("the page was frozen"));
}

async function digest(text) {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("").slice(0, 16);
}

function rowIsOnTop() {
  const row = document.querySelector(".alarms");
  if (!row) return false;
  const box = row.getBoundingClientRect();
  const hit = document.elementFromPoint(box.left + box.width * 0.3, box.top + box.height / 2);
  return Boolean(hit && row.contains(hit));
}

// From a double animation frame, never from a timer alone: what is claimed was really drawn.
export function answerLease(message) {
  requestAnimationFrame(() => requestAnimationFrame(async () => {
    const drawn = store.state ? store.state.alarms.map((a) => `${a.id}=${a.state}`).join(",") : "";
    const shown = frames;
    frames = 0;
    send({
      kind: "lease", nonce: message.nonce, digest: await digest(drawn), topmost: rowIsOnTop(), frames: shown,
      visible: !document.hidden && store.live, ...soundProof(),
    });
  }));
}
