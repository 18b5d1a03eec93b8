// Points that a person puts on the image: the core looks them up again, watches them, and guards those with a limit.
import { html } from "/static/vendor/preact-htm.js";
import { act } from "./link.js";
import { fixed, inControl, set, store } from "./store.js";

export const guardLimit = () => store.welcome.limits.guard_temperature_c.value;

// The first name that is free; names are short because they stand on the pictures.
function freeName() {
  const taken = new Set((store.state ? store.state.points : []).map((p) => p.name));
  return Array.from({ length: 99 }, (_, n) => `P${n + 1}`).find((name) => !taken.has(name));
}

export function place(guarded) {
  set({ placing: false });
  const [r, a, s] = store.crosshair;
  return act("PLACE_POINT", { values: { name: freeName(), r_mm: r, a_mm: a, s_mm: s, limit_c: guarded ? guardLimit() : 0 } });
}

export function Places() {
  const rows = store.state ? store.state.points : [];
  if (!rows.length) return null;
  const number = (p) => store.state.numbers.find((n) => n.id === `${p.name}.max_c`);
  return html`<div><h3 class="t2">Placed regions</h3><table><tbody>${rows.map((p) => html`<tr key=${p.name}>
    <td>${p.name}</td><td class="num">${p.ras.map((x) => x.toFixed(1)).join(" ")} mm</td><td class="num">r ${p.radius_mm.toFixed(0)} mm</td>
    <td class="num strong">${fixed((number(p) || {}).value)} degC</td><td>${p.limit_c ? `limit ${p.limit_c}` : "watched"}</td>
    <td><button disabled=${!store.live || !inControl()} onClick=${() => act("REMOVE_POINT", { values: { name: p.name } })}>remove</button></td></tr>`)}</tbody></table></div>`;
}
