// Small vectors and 4x4 matrices (row-major nested arrays, column vectors), RAS millimetres.
export const add = (a, b, k = 1) => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const norm = (a) => Math.hypot(a[0], a[1], a[2]);
export const unit = (a) => { const n = norm(a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
export const apply = (m, p) => [0, 1, 2].map((i) => m[i][0] * p[0] + m[i][1] * p[1] + m[i][2] * p[2] + m[i][3]);
export const turn = (m, v) => [0, 1, 2].map((i) => m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2]);

// Inverse of an affine matrix.
export function invert(m) {
  const [a, b, c] = [0, 1, 2].map((j) => [m[0][j], m[1][j], m[2][j]]);
  const det = dot(a, cross(b, c));
  const rows = [cross(b, c), cross(c, a), cross(a, b)].map((r) => r.map((x) => x / det));
  const t = [m[0][3], m[1][3], m[2][3]];
  return [...rows.map((r) => [...r, -dot(r, t)]), [0, 0, 0, 1]];
}

// A picture's plane: where pixel (x, y) lies. `mm` is the size of a pixel, `middle` the RAS point in its middle.
export function plane(view, middle, mm, width, height) {
  const u = view.columns;
  const v = view.rows;
  const origin = add(add(middle, u, -mm * (width - 1) / 2), v, -mm * (height - 1) / 2);
  return { u, v, n: cross(u, v), mm, width, height, origin, middle };
}
export const toRas = (p, x, y) => add(add(p.origin, p.u, p.mm * x), p.v, p.mm * y);
export const toPixel = (p, ras) => {
  const d = add(ras, p.origin, -1);
  return [dot(d, p.u) / p.mm, dot(d, p.v) / p.mm, dot(d, p.n)];
};

// Voxel (i, j, k) at a point, nearest, or -1 where it is outside: the same rounding as the service's.
export function voxelAt(frame, ras) {
  const p = apply(frame.imageFromRas, ras).map((x) => Math.floor(x + 0.5));
  const [slices, rows, columns] = frame.shape;
  if (p[0] < 0 || p[1] < 0 || p[2] < 0 || p[0] >= columns || p[1] >= rows || p[2] >= slices) return -1;
  return (p[2] * rows + p[1]) * columns + p[0];
}

// A raw value in its unit, or null where nothing was measured.
export function valueOf(layer, index) {
  if (!layer || index < 0) return null;
  const raw = layer.values[index];
  return raw === layer.missing ? null : raw * layer.scale + layer.offset;
}
