// Drawing of raw layers on a 2-D canvas at data size: grey by a table, temperature by a table, states by hatches.
const HATCH = 8;
const GREY = 0xff6e6e6e;
const greyTable = new Uint32Array(256).map((_, g) => 0xff000000 | (g << 16) | (g << 8) | g);

// 65536 entries from raw grey to its 8-bit level, for one window.
function levels(key, bins, low, high) {
  if (levels.key === key) return levels.table;
  const table = new Uint8Array(bins);
  const k = 255 / Math.max(1, high - low);
  for (let raw = 0; raw < bins; raw += 1) table[raw] = Math.max(0, Math.min(255, (raw - low) * k));
  levels.key = key;
  levels.table = table;
  return table;
}

// Raw value -> (red, green, blue, shown) of the overlay, for one layer and scale.
export function overlayTable(look) {
  const { layer, low, high, from, log, cold, label, rgb } = look;
  const key = `${layer.name}:${low}:${high}:${from}:${layer.scale}:${layer.offset}:${cold}`;
  if (overlayTable.key === key && overlayTable.rgb === rgb) return overlayTable.table;
  const table = new Uint32Array(65536);
  for (let raw = 0; raw < 65535; raw += 1) {
    const value = raw * layer.scale + layer.offset;
    const linear = log ? 10 ** value : value;
    if (cold ? linear > from : linear < from) continue;
    const place = label ? raw / 255 : log ? (value - Math.log10(low)) / (Math.log10(high) - Math.log10(low)) : (value - low) / (high - low);
    const [r, g, b] = rgb[Math.max(0, Math.min(255, Math.round(place * 255)))];
    table[raw] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  overlayTable.key = key;
  overlayTable.rgb = rgb;
  overlayTable.table = table;
  return table;
}

function mix(grey, colour, opacity) {
  const at = (shift) => Math.round(((colour >> shift) & 255) * opacity + grey * (1 - opacity));
  return (0xff000000 | (at(16) << 16) | (at(8) << 8) | at(0)) >>> 0;
}

export class Twin {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
  }

  image(width, height) {
    if (!this.data || this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.data = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.data.data.buffer);
    }
    return this.pixels;
  }

  // A flat live picture: every pixel through the window's table. `halved`: the view has less than half of its pixels,
  // so that the mean of four becomes one; what is read out stays the raw picture.
  flat(frame, low, high, halved = false) {
    const { values, type } = frame.layers.magnitude;
    const [, rows, columns] = frame.shape;
    const table = this.window(type === "uint8" ? 256 : 65536, low, high);
    if (halved) this.halves(values, rows, columns, table);
    else {
      const out = this.image(columns, rows);
      for (let n = 0; n < values.length; n += 1) out[n] = table[values[n]];
    }
    this.context.putImageData(this.data, 0, 0);
  }

  halves(values, rows, columns, table) {
    const [wide, tall] = [columns >> 1, rows >> 1];
    const out = this.image(wide, tall);
    for (let y = 0, n = 0; y < tall; y += 1) {
      let at = 2 * y * columns;
      for (let x = 0; x < wide; x += 1, n += 1, at += 2) {
        out[n] = table[(values[at] + values[at + 1] + values[at + columns] + values[at + columns + 1]) >> 2];
      }
    }
  }

  window(bins, low, high) {
    if (this.flatKey !== `${bins}:${low}:${high}`) {
      this.flatKey = `${bins}:${low}:${high}`;
      this.flatTable = new Uint32Array(bins);
      const k = 255 / Math.max(1, high - low);
      for (let raw = 0; raw < bins; raw += 1) this.flatTable[raw] = greyTable[Math.max(0, Math.min(255, Math.round((raw - low) * k)))];
    }
    return this.flatTable;
  }

  // A plane through a volume, nearest voxel; `look` is the overlay's layer with its scale, or null.
  plane(frame, plane, low, high, look, opacity, sigmaLimit) {
    const { width, height } = plane;
    const out = this.image(width, height);
    const m = frame.imageFromRas;
    const [slices, rows, columns] = frame.shape;
    const grey = frame.layers.magnitude.values;
    const over = look && look.layer.values;
    const table = look && overlayTable(look);
    const sigma = look && !look.label && frame.layers.sigma && frame.layers.sigma.values;
    const sigmaRaw = sigma ? sigmaLimit / frame.layers.sigma.scale : 0;
    const level = levels(`${low}:${high}`, 65536, low, high);
    const body = low + (high - low) * 0.08; // what is darker is air: no hatch there
    const step = (axis, v) => (m[axis][0] * v[0] + m[axis][1] * v[1] + m[axis][2] * v[2]) * plane.mm;
    const du = [0, 1, 2].map((i) => step(i, plane.u));
    const dv = [0, 1, 2].map((i) => step(i, plane.v));
    const o = plane.origin;
    const p0 = [0, 1, 2].map((i) => m[i][0] * o[0] + m[i][1] * o[1] + m[i][2] * o[2] + m[i][3] + 0.5);
    for (let y = 0, n = 0; y < height; y += 1) {
      let x0 = p0[0] + y * dv[0];
      let x1 = p0[1] + y * dv[1];
      let x2 = p0[2] + y * dv[2];
      for (let x = 0; x < width; x += 1, n += 1, x0 += du[0], x1 += du[1], x2 += du[2]) {
        if (x0 < 0 || x1 < 0 || x2 < 0 || x0 >= columns || x1 >= rows || x2 >= slices) { out[n] = 0xff000000; continue; }
        const index = ((x2 | 0) * rows + (x1 | 0)) * columns + (x0 | 0);
        const g = level[grey[index]];
        let colour = greyTable[g];
        if (over) {
          const raw = over[index];
          if (raw === 65535) {
            if (grey[index] > body && ((x + y) % HATCH === 0 || (x - y + 4096) % HATCH === 0)) colour = GREY;
          } else if (table[raw]) {
            colour = mix(g, table[raw], opacity);
            if (sigma && sigma[index] > sigmaRaw && (x + y) % HATCH < 2) colour = 0xff000000;
          }
        }
        out[n] = colour;
      }
    }
    this.context.putImageData(this.data, 0, 0);
  }
}

// True where any voxel of a layer reaches a raw value; asked once a frame.
const reaches = new WeakMap();
function reached(layer, raw) {
  if (!reaches.has(layer)) reaches.set(layer, layer.values.some((value) => value !== layer.missing && value >= raw));
  return reaches.get(layer);
}

// Segments (x0, y0, x1, y1) in pixels around the voxels of a plane whose layer is at least `least` (in its unit).
export function edgesOf(frame, plane, layer, least, stride = 1) {
  const raw = (least - layer.offset) / layer.scale;
  const out = [];
  if (!reached(layer, raw)) return out;
  const m = frame.imageFromRas;
  const [slices, rows, columns] = frame.shape;
  const { values, missing } = layer;
  const o = plane.origin;
  const step = (v, i) => (m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2]) * plane.mm * stride;
  const du = [0, 1, 2].map((i) => step(plane.u, i));
  const dv = [0, 1, 2].map((i) => step(plane.v, i));
  const p0 = [0, 1, 2].map((i) => m[i][0] * o[0] + m[i][1] * o[1] + m[i][2] * o[2] + m[i][3] + 0.5);
  const across = Math.ceil(plane.width / stride);
  let above = new Uint8Array(across);
  let row = new Uint8Array(across);
  for (let n = 0; n * stride < plane.height; n += 1) {
    const y = n * stride;
    let [x0, x1, x2] = [0, 1, 2].map((i) => p0[i] + n * dv[i]);
    for (let column = 0; column < across; column += 1, x0 += du[0], x1 += du[1], x2 += du[2]) {
      let here = 0;
      if (x0 >= 0 && x1 >= 0 && x2 >= 0 && x0 < columns && x1 < rows && x2 < slices) {
        const value = values[((x2 | 0) * rows + (x1 | 0)) * columns + (x0 | 0)];
        here = value !== missing && value >= raw ? 1 : 0;
      }
      row[column] = here;
      const x = column * stride;
      if (column && here !== row[column - 1]) out.push([x - stride / 2, y - stride / 2, x - stride / 2, y + stride / 2]);
      if (n && here !== above[column]) out.push([x - stride / 2, y - stride / 2, x + stride / 2, y - stride / 2]);
    }
    [above, row] = [row, above];
  }
  return out;
}
