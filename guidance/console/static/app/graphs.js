// Graphs of the last minute: temperatures with limits, power with emission bands, ages of streams.
import { Component, html } from "/static/vendor/preact-htm.js";
import uPlot from "/static/vendor/uPlot.esm.js";
import { set, store, temperatures } from "./store.js";

const SPAN_S = 60;
const COLOURS = ["--strong", "--risk", "--gate", "--target", "--forecast", "--dim"];
const WARM = ["--target", "--risk", "--strong", "--gate", "--forecast", "--dim"];
const DASHES = [[], [8, 4], [2, 3], [8, 3, 2, 3], [12, 4], [4, 4]];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

// Rows of the graph: key in the history's points, name, colour, dash.
const rowsOf = (ending, word, by = "") => () => (store.state ? store.state.numbers : []).filter((n) => n.graph && n.id.endsWith(ending)).slice(0, 6)
  .map((n, i) => ({ key: n.id, name: n.name.replace(word, by), limit: n.limit, colour: WARM[i], dash: DASHES[i] }));

// Ages as shares of what each stream is allowed: the streams' limits differ by a factor of ten.
const ageRows = () => Object.entries(store.welcome.streams).slice(0, 6)
  .map(([name, row], i) => ({ key: `age.${name}`, name, colour: COLOURS[i], dash: DASHES[i], share: 100 / row.limit_ms, limit: i ? null : 100 }));

const latencyRows = () => Object.keys(store.history[store.history.length - 1] || {}).filter((key) => key.startsWith("latency.")).slice(0, 6)
  .map((key, i) => ({ key, name: key.slice(8), colour: COLOURS[i], dash: DASHES[i] }));
const powerRows = () => [
  { key: "power_w", name: "power", colour: "--strong", dash: [] },
  { key: "confirmed_w", name: "confirmed at most", colour: "--gate", dash: [6, 4] },
];
const motionRows = () => [
  { key: "motion_mm", name: "motion", colour: "--strong", dash: [] },
  { key: "predicted_mm", name: "predicted", colour: "--gate", dash: [6, 4] },
];

export const KINDS = {
  temperature: { title: "T max", unit: "degC", rows: rowsOf(".max_c", "T max ") },
  window: { title: "T of the target", unit: "degC", rows: rowsOf("0_c", /^(T\d0) .*/, "$1") },
  motion: { title: "breathing, gate open banded", unit: "mm", rows: motionRows, range: null, band: (p) => p.beam_on },
  power: { title: "beam, on banded", unit: "W", rows: powerRows, range: null },
  dose: { title: "dose", unit: "CEM43 min", rows: rowsOf(".dose", /^dose (max )?/), range: null },
  mean: { title: "T mean", unit: "degC", rows: rowsOf(".mean_c", "T mean ") },
  latency: { title: "latency, worst: to drawn; pose: to output", unit: "ms", rows: latencyRows, range: null },
  ages: { title: "age", unit: "% of limit", rows: ageRows, range: [0, 120], most: 250 },
};

// The graphs that this room has something for, the most telling first.
export function graphKinds() {
  const { thermometry, therapy } = store.welcome;
  const has = { temperature: thermometry, window: KINDS.window.rows().length, mean: thermometry, dose: thermometry, power: therapy,
    motion: store.history.length && "motion_mm" in store.history[store.history.length - 1], latency: true, ages: true };
  return Object.keys(KINDS).filter((kind) => has[kind]);
}

// The lower graph goes on to the next kind that the upper one does not show.
export function nextGraph() {
  const kinds = graphKinds().slice(1);
  set({ lower: kinds[(kinds.indexOf(store.lower || kinds[0]) + 1) % kinds.length] });
}

export function Graphs() {
  const kinds = graphKinds();
  const lower = kinds.includes(store.lower) && store.lower !== kinds[0] ? store.lower : kinds[1];
  return html`<div class="graphs"><${Graph} key=${kinds[0]} kind=${kinds[0]} />
    <button class="flip" onClick=${nextGraph} aria-label=${`next graph, now ${KINDS[lower].title}`}><${Graph} key=${lower} kind=${lower} more="[G] next" /></button></div>`;
}

function points(rows) {
  const history = store.history;
  const end = history.length ? history[history.length - 1].t_ms : 0;
  const x = history.map((p) => (p.t_ms - end) / 1000);
  return [x, ...rows.map((r) => history.map((p) => (typeof p[r.key] === "number" ? p[r.key] * (r.share || 1) : null)))];
}

// Bands behind the lines while energy flows, or what else the graph says: an edge and a tint, so that they need no colour.
const flows = (p) => (p.power_w || 0) > 0;
const bands = (band = flows) => (u) => {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.fillStyle = css("--hair");
  ctx.globalAlpha = 0.5;
  let from = null;
  const close = (to) => { if (from !== null && to > from) ctx.fillRect(from, bbox.top, to - from, bbox.height); from = null; };
  const end = store.history.length ? store.history[store.history.length - 1].t_ms : 0;
  for (const p of store.history) {
    const x = u.valToPos((p.t_ms - end) / 1000, "x", true);
    if (x < bbox.left) { from = band(p) ? bbox.left : null; continue; }
    if (band(p)) { if (from === null) from = Math.max(x, bbox.left); } else close(x);
  }
  close(bbox.left + bbox.width);
  ctx.restore();
};

// Said where there is nothing to draw: an empty graph could as well be a broken one.
function nothing(rows) {
  return (u) => {
    if (u.data.slice(1).some((line) => line.some((value) => value !== null))) return;
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = css("--dim");
    ctx.font = `${0.875 * rem() * devicePixelRatio}px B612`;
    ctx.textAlign = "center";
    ctx.fillText(rows.length ? "no value in the last minute" : "nothing to show yet", bbox.left + bbox.width / 2, bbox.top + bbox.height / 2);
    ctx.restore();
  };
}

function limits(rows) {
  return (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    for (const [n, r] of rows.filter((row) => typeof row.limit === "number").entries()) {
      const y = Math.round(u.valToPos(r.limit, "y", true)) + 0.5;
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.strokeStyle = css("--strong");
      ctx.lineWidth = Math.max(1, rem() / 10);
      ctx.setLineDash([rem() / 3, rem() / 4]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.fillStyle = css("--strong");
      ctx.font = `${0.875 * rem() * devicePixelRatio}px B612`;
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      ctx.fillText(`limit ${r.limit}`, bbox.left + 4 + n * 5 * rem() * devicePixelRatio, y - 3);
    }
    ctx.restore();
  };
}

// How a line looks, before its name.
const Sample = ({ row }) => html`<svg viewBox="0 0 26 8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" stroke=${`var(${row.colour})`} stroke-width="2.5" stroke-dasharray=${row.dash.join(" ") || "none"} /></svg>`;

export class Graph extends Component {
  shouldComponentUpdate() {
    this.update();
    const names = this.names();
    const again = names !== this.told;
    this.told = names;
    return again;
  }

  names() { return KINDS[this.props.kind].rows().map((r) => r.name).join(", "); }

  componentDidMount() {
    this.box = this.base.querySelector(".plot");
    this.resized = new ResizeObserver(() => this.make());
    this.resized.observe(this.box);
  }

  componentWillUnmount() {
    this.resized.disconnect();
    if (this.plot) this.plot.destroy();
  }

  make() {
    if (this.plot) this.plot.destroy();
    const { kind } = this.props;
    this.kind = kind;
    const spec = KINDS[kind];
    this.rows = spec.rows();
    this.signature = `${this.rows.map((r) => r.key)}${store.theme}`;
    const font = `${0.875 * rem()}px B612`;
    const line = { stroke: css("--dim"), font, grid: { stroke: css("--hair"), width: 0.5 }, ticks: { show: false } };
    const { width, height } = this.box.getBoundingClientRect();
    if (width < 10 || height < 10) return;
    this.plot = new uPlot({
      width, height, legend: { show: false }, cursor: { show: false }, padding: [0.5 * rem(), 1.2 * rem(), 0, 0],
      scales: { x: { time: false, range: () => [-SPAN_S, 0] }, y: { range: (u, low, high) => this.range(low, high) } },
      axes: [
        { ...line, size: 1.4 * rem(), gap: 0.3 * rem(), splits: () => [-60, -50, -40, -30, -20, -10, 0], values: (u, ticks) => ticks.map((t) => (t ? `${t}` : "now")) },
        { ...line, size: 3 * rem(), gap: 0.3 * rem(), space: 1.6 * rem() },
      ],
      series: [{}, ...this.rows.map((r) => ({ label: r.name, stroke: css(r.colour), width: rem() / 9, dash: r.dash.map((d) => (d * rem()) / 16), points: { show: false }, spanGaps: false }))],
      hooks: { drawClear: [bands(spec.band)], draw: [limits(this.rows), nothing(this.rows)] },
    }, points(this.rows), this.box);
  }

  range(low, high) {
    const { unit, range, most = Infinity } = KINDS[this.props.kind];
    const wide = unit === "degC" ? temperatures() : range;
    if (wide) return [Math.min(wide[0], low ?? wide[0]), Math.min(most, Math.max(wide[1], high ?? wide[1]))];
    return [Math.min(0, (low ?? 0) * 1.1), Math.max(10, (high ?? 10) * 1.1)];
  }

  update() {
    if (!this.box) return;
    const rows = KINDS[this.props.kind].rows();
    if (!this.plot || `${rows.map((r) => r.key)}${store.theme}` !== this.signature || this.props.kind !== this.kind) this.make();
    else if (store.live && (this.count = (this.count || 0) + 1) % 3 === 0) this.plot.setData(points(this.rows));
  }

  render({ kind, more = "" }) {
    const spec = KINDS[kind];
    const rows = spec.rows();
    return html`<div class="graph" role="img" aria-label=${`graph of ${spec.title}, last 60 s`}>
      <h3><span>${spec.title}${rows.map((r) => html`<span class="name" key=${r.key}><${Sample} row=${r} />${r.name}</span> `)}</span><span>${spec.unit}${more && html` <b>${more}</b>`}</span></h3><div class="plot"></div></div>`;
  }
}
