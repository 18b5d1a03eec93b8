// The directions of a view: the service's three planes, and two strips along the trajectory that the tool follows.
import { add, cross, unit } from "./geometry.js";
import { store } from "./store.js";

export const STRIPS = ["inplane", "perp"];
export const TITLE = { axial: "AXIAL", coronal: "CORONAL", sagittal: "SAGITTAL", inplane: "IN-PLANE", perp: "PERP" };

export const pointers = () => Object.keys(store.welcome.tools).filter((name) => store.welcome.tools[name].role === "tool");

// The tool that is aimed: the one that was chosen here, else the first that the service has put on a trajectory.
export function pointer() {
  const tools = pointers();
  const known = store.state ? store.state.tools : {};
  return tools.includes(store.tool) ? store.tool : tools.find((name) => known[name] && known[name].way) || tools[0];
}

// The trajectory that the service measures that tool against; the numbers beside it belong to this one.
export function trajectory() {
  const { plan } = store.welcome;
  if (!plan) return null;
  const tool = store.state && store.state.tools[pointer()];
  return plan.trajectories.find((way) => tool && way.name === tool.way) || plan.trajectories[0] || null;
}

// Unit vectors of a trajectory: along it from entry to target, and two across it.
export function axesOf(way) {
  const along = unit(add(way.target_mm, way.entry_mm, -1));
  const up = Math.abs(along[2]) < 0.9 ? [0, 0, 1] : [0, 1, 0];
  const side = unit(cross(along, up));
  return { along, side, top: cross(side, along) };
}

// The letter towards which a direction mostly points.
function letter(v) {
  const axis = [0, 1, 2].reduce((best, i) => (Math.abs(v[i]) > Math.abs(v[best]) ? i : best), 0);
  return ["RAS", "LPI"][v[axis] > 0 ? 0 : 1][axis];
}

const back = (v) => v.map((x) => -x);

export function viewOf(name) {
  if (!STRIPS.includes(name)) return store.welcome.views[name];
  const way = trajectory();
  if (!way) return null;
  const { along, side, top } = axesOf(way);
  const rows = name === "inplane" ? back(top) : side;
  return { columns: along, rows, letters: [back(along), along, back(rows), rows].map(letter).join("") };
}
