// The keyboard. Space is STOP before anything else sees it; letters work wherever the page has the focus.
import { stop, closeDrawer } from "./acts.js";
import { acknowledge, mute } from "./alarms.js";
import { allowSound } from "./sound.js";
import { set, store } from "./store.js";
import { nextGraph } from "./graphs.js";
import { place } from "./places.js";
import { drawAll, liveName, zoom } from "./views.js";

const opacity = (step) => { set({ opacity: Math.max(0, Math.min(1, store.opacity + step)) }); drawAll(); };
const names = () => (store.step === "target" ? ["inplane", liveName() || "axial", "perp"] : ["axial", "coronal", "sagittal", liveName()]);
export const toggleTheme = () => {
  const theme = store.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  set({ theme });
};

const TABLE = {
  a: () => acknowledge(),
  m: mute,
  t: toggleTheme,
  p: () => set({ placing: !store.placing }),
  g: nextGraph,
  v: () => set({ liveChoice: store.liveChoice + 1 }),
  "+": () => zoom(1.25),
  "-": () => zoom(0.8),
  "[": () => opacity(-0.05),
  "]": () => opacity(0.05),
  "?": () => set({ open: store.open === "keys" ? "" : "keys" }),
  0: () => set({ enlarged: "" }),
  1: () => set({ enlarged: names()[0] }),
  2: () => set({ enlarged: names()[1] }),
  3: () => set({ enlarged: names()[2] }),
  4: () => set({ enlarged: names()[3] || "" }),
};

export function watchKeys() {
  addEventListener("keydown", (event) => {
    allowSound();
    if (event.code === "Space") {
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!event.repeat) stop();
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey || !store.welcome) return;
    if (event.key === "Escape") { closeDrawer(); set({ open: "", placing: false }); return; }
    if (event.key === "Enter" && store.placing) { event.preventDefault(); place(event.shiftKey); return; }
    const does = TABLE[event.key.length === 1 ? event.key.toLowerCase() : ""];
    if (does) { event.preventDefault(); does(); }
  }, { capture: true });
  // A released Space would click the focused button: that is the other half of "Space never activates".
  addEventListener("keyup", (event) => { if (event.code === "Space") { event.preventDefault(); event.stopImmediatePropagation(); } }, { capture: true });
  addEventListener("pointerdown", allowSound, { capture: true });
  addEventListener("blur", () => set({ keysOff: true }));
  addEventListener("focus", () => set({ keysOff: false }));
}
