// Which layer lies over the grey picture, with its scale: one table for planes, colour bars and read-outs.
import { store } from "./store.js";
import { roleColour } from "./vectors.js";

export const LAYERS = {
  temperature: { word: "T", unit: "degC", digits: 1 },
  dose: { word: "CEM43", unit: "min", digits: 1 },
  sigma: { word: "sigma", unit: "degC", digits: 2 },
  labels: { word: "plan", unit: "", digits: 0 },
  none: { word: "grey", unit: "", digits: 0 },
};
export const TREATED_MIN = 240;
const SIGMA_ENDS_C = [0, 2];
export const sigmaLimit = () => store.welcome.scale.sigma_limit_c;

// The label layer that belongs to a volume: same grid, structures by the place of their name in the plan, from 1.
export function labelsOf(frame) {
  const labels = store.frames.get("labels");
  if (!labels || !store.welcome.plan || String(labels.shape) !== String(frame.shape) || String(labels.ras_from_image) !== String(frame.ras_from_image)) return null;
  return labels.layers.labels;
}

let labelColours = { plan: null, rgb: [] };
function coloursOfLabels() {
  const { plan } = store.welcome;
  if (labelColours.plan !== plan) {
    const roles = Object.fromEntries(plan.structures.map((s) => [s.name, s.role]));
    const rgb = Array.from({ length: 256 }, (_, n) => {
      const hex = roleColour(roles[plan.labels[n - 1]]);
      return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    });
    labelColours = { plan, rgb };
  }
  return labelColours.rgb;
}

export function lookOf(frame) {
  if (store.layer === "labels") {
    const layer = labelsOf(frame);
    return layer && { layer, rgb: coloursOfLabels(), low: 0, high: 255, from: 1, label: true };
  }
  const layer = frame.layers[store.layer];
  if (!layer) return null;
  const { scale } = store.welcome;
  const [low, high] = scale.ends_c;
  const looks = {
    temperature: { low, high, from: scale.shown_c, cold: scale.cold },
    dose: { low: 1, high: TREATED_MIN, from: 1, log: true },
    sigma: { low: SIGMA_ENDS_C[0], high: SIGMA_ENDS_C[1], from: 0 },
  };
  return { layer, rgb: scale.rgb, ...looks[store.layer] };
}

export function endsOf() {
  if (!store.welcome || ["none", "labels"].includes(store.layer)) return null;
  const [low, high] = store.welcome.scale.ends_c;
  return { temperature: [`${low}`, `${high} degC`], dose: ["1", `${TREATED_MIN} min`], sigma: [`${SIGMA_ENDS_C[0]}`, `${SIGMA_ENDS_C[1]} degC`] }[store.layer];
}
