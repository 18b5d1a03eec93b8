// Which layer lies over the grey picture, with its scale: one table for planes, colour bars and read-outs.
import { store } from "./store.js";

export const LAYERS = {
  temperature: { word: "T", unit: "degC", digits: 1 },
  dose: { word: "CEM43", unit: "min", digits: 1 },
  sigma: { word: "sigma", unit: "degC", digits: 2 },
  none: { word: "grey", unit: "", digits: 0 },
};
export const TREATED_MIN = 240;
export const SIGMA_LIMIT_C = 1.5;

export function lookOf(frame) {
  const layer = frame.layers[store.layer];
  if (!layer) return null;
  const { scale } = store.welcome;
  const [low, high] = scale.ends_c;
  const looks = {
    temperature: { low, high, from: scale.shown_from_c },
    dose: { low: 1, high: TREATED_MIN, from: 1, log: true },
    sigma: { low: 0, high: 2, from: 0 },
  };
  return { layer, rgb: scale.rgb, ...looks[store.layer] };
}

export function endsOf() {
  if (!store.welcome || store.layer === "none") return null;
  const [low, high] = store.welcome.scale.ends_c;
  return { temperature: [`${low}`, `${high} degC`], dose: ["1", `${TREATED_MIN} min`], sigma: ["0", "2 degC"] }[store.layer];
}
