"""A displacement field as a cubic B-spline surface, and the Gauss-Newton step that fits it to two images.

The field is u(p) = sum of c[k] B3(x / h - kx) B3(y / h - ky) (Rueckert et al. 1999, free-form deformation) with
the second differences of its coefficients as the prior (Eilers & Marx 1996, P-splines): uniform shift, stretch
and shear cost nothing, so breathing is not pulled towards rest. The linear system is solved by conjugate
gradients with a diagonal preconditioner and is never assembled.
All arrays are float32, C-contiguous; fields are (rows, columns, 2) in pixels, x then y.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]
Taps = tuple[NDArray[np.int64], Array]


def taps(positions_px: NDArray[np.float64], spacing_px: float) -> Taps:
    """First node (N,) and the four cubic B-spline weights (N, 4) of each sample position along one axis."""
    first = np.floor(positions_px / spacing_px)
    t = positions_px / spacing_px - first
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3],
        axis=-1,
    )
    return first.astype(np.int64), np.ascontiguousarray(weights / 6.0, dtype=np.float32)


@njit(cache=True, nogil=True)
def expand(nodes, first_y, weight_y, first_x, weight_x, field):  # type: ignore[no-untyped-def]
    """Write the field (rows, columns, 2) of `nodes` (ny, nx, 2) at the sample positions of the taps."""
    columns, across = first_x.shape[0], nodes.shape[1]
    line = np.empty((across, 2), np.float32)
    for i in range(first_y.shape[0]):
        k = first_y[i]
        a, b, c, d = weight_y[i, 0], weight_y[i, 1], weight_y[i, 2], weight_y[i, 3]
        for j in range(across):
            for e in range(2):
                line[j, e] = (
                    a * nodes[k, j, e] + b * nodes[k + 1, j, e] + c * nodes[k + 2, j, e] + d * nodes[k + 3, j, e]
                )
        for j in range(columns):
            q = first_x[j]
            a, b, c, d = weight_x[j, 0], weight_x[j, 1], weight_x[j, 2], weight_x[j, 3]
            for e in range(2):
                field[i, j, e] = a * line[q, e] + b * line[q + 1, e] + c * line[q + 2, e] + d * line[q + 3, e]


@njit(cache=True, nogil=True)
def project(field, first_y, weight_y, first_x, weight_x, nodes):  # type: ignore[no-untyped-def]
    """The transpose of `expand`: sum the field's samples into the nodes."""
    columns, across = first_x.shape[0], nodes.shape[1]
    nodes[:] = 0
    line = np.empty((across, 2), np.float32)
    for i in range(first_y.shape[0]):
        line[:] = 0
        for j in range(columns):
            q = first_x[j]
            for e in range(2):
                value = field[i, j, e]
                for m in range(4):
                    line[q + m, e] += weight_x[j, m] * value
        k = first_y[i]
        for m in range(4):
            w = weight_y[i, m]
            for j in range(across):
                nodes[k + m, j, 0] += w * line[j, 0]
                nodes[k + m, j, 1] += w * line[j, 1]


@njit(cache=True, nogil=True)
def add_bending(nodes, stiffness, out):  # type: ignore[no-untyped-def]
    """Add the gradient of stiffness / 2 * (|Dxx c|^2 + |Dyy c|^2 + 2 |Dxy c|^2) to `out` (ny, nx, 2)."""
    rows, columns = nodes.shape[0], nodes.shape[1]
    for i in range(rows):
        for j in range(columns):
            for e in range(2):
                if 0 < i < rows - 1:
                    d = stiffness * (nodes[i - 1, j, e] - nodes[i, j, e] - nodes[i, j, e] + nodes[i + 1, j, e])
                    out[i - 1, j, e] += d
                    out[i, j, e] -= d + d
                    out[i + 1, j, e] += d
                if 0 < j < columns - 1:
                    d = stiffness * (nodes[i, j - 1, e] - nodes[i, j, e] - nodes[i, j, e] + nodes[i, j + 1, e])
                    out[i, j - 1, e] += d
                    out[i, j, e] -= d + d
                    out[i, j + 1, e] += d
                if i < rows - 1 and j < columns - 1:
                    d = stiffness * (nodes[i, j, e] - nodes[i, j + 1, e] - nodes[i + 1, j, e] + nodes[i + 1, j + 1, e])
                    d += d
                    out[i, j, e] += d
                    out[i, j + 1, e] -= d
                    out[i + 1, j, e] -= d
                    out[i + 1, j + 1, e] += d


@njit(cache=True, nogil=True)
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = np.float64(0)
    for i in range(a.shape[0]):
        line = np.float32(0)
        for j in range(a.shape[1]):
            line += a[i, j, 0] * b[i, j, 0] + a[i, j, 1] * b[i, j, 1]
        total += line
    return total


@njit(cache=True, nogil=True)
def solve_step(tensor, force, nodes, first_y, weight_y, first_x, weight_x, stiffness, ridge, iterations):  # type: ignore[no-untyped-def]
    """The Gauss-Newton step (ny, nx, 2) that lowers data + bending energy around `nodes`.

    `tensor` (rows, columns, 3) holds the structure tensor xx, yy, xy and `force` (rows, columns, 2) gradient times
    residual, both summed into the cells that the taps sample.
    """
    rows, columns = tensor.shape[0], tensor.shape[1]
    field = np.empty((rows, columns, 2), np.float32)
    residual = np.empty(nodes.shape, np.float32)
    project(force, first_y, weight_y, first_x, weight_x, residual)
    add_bending(nodes, stiffness, residual)
    residual[:] = -residual
    scale = np.empty(nodes.shape, np.float32)
    project(tensor[:, :, :2], first_y, weight_y * weight_y, first_x, weight_x * weight_x, scale)
    scale += 20 * stiffness + ridge
    step = np.zeros(nodes.shape, np.float32)
    scaled = residual / scale
    direction = scaled.copy()
    image = np.empty(nodes.shape, np.float32)
    energy = _dot(residual, scaled)
    floor = 1e-4 * energy
    for _ in range(iterations):
        if energy <= floor:
            break
        expand(direction, first_y, weight_y, first_x, weight_x, field)
        for i in range(rows):
            for j in range(columns):
                x, y = field[i, j, 0], field[i, j, 1]
                field[i, j, 0] = tensor[i, j, 0] * x + tensor[i, j, 2] * y
                field[i, j, 1] = tensor[i, j, 2] * x + tensor[i, j, 1] * y
        project(field, first_y, weight_y, first_x, weight_x, image)
        add_bending(direction, stiffness, image)
        image += ridge * direction
        along = np.float32(energy / _dot(direction, image))
        step += along * direction
        residual -= along * image
        scaled = residual / scale
        fresh = _dot(residual, scaled)
        direction = scaled + np.float32(fresh / energy) * direction
        energy = fresh
    return step


@njit(cache=True, nogil=True)
def _prefilter_line(line):  # type: ignore[no-untyped-def]
    pole = np.float32(np.sqrt(3.0) - 2.0)
    count = line.shape[0]
    start, power = line[0], pole
    for k in range(1, min(count, 12)):
        start += power * line[k]
        power *= pole
    line[0] = start
    for k in range(1, count):
        line[k] += pole * line[k - 1]
    line[count - 1] = pole / (pole * pole - np.float32(1)) * (line[count - 1] + pole * line[count - 2])
    for k in range(count - 2, -1, -1):
        line[k] = pole * (line[k + 1] - line[k])


@njit(cache=True, nogil=True)
def spline_coefficients(image):  # type: ignore[no-untyped-def]
    """Cubic B-spline coefficients (float32, same shape) that interpolate `image` (Unser 1999); mirrored edges."""
    out = image.astype(np.float32)
    rows, columns = out.shape
    for i in range(rows):
        _prefilter_line(out[i])
    pole = np.float32(np.sqrt(3.0) - 2.0)
    power = pole
    for i in range(1, min(rows, 12)):
        for j in range(columns):
            out[0, j] += power * out[i, j]
        power *= pole
    for i in range(1, rows):
        for j in range(columns):
            out[i, j] += pole * out[i - 1, j]
    last = pole / (pole * pole - np.float32(1))
    for j in range(columns):
        out[rows - 1, j] = last * (out[rows - 1, j] + pole * out[rows - 2, j])
    for i in range(rows - 2, -1, -1):
        for j in range(columns):
            out[i, j] = pole * (out[i + 1, j] - out[i, j])
    out *= np.float32(36)
    return out


@njit(cache=True, nogil=True, inline="always")
def _weights(t):  # type: ignore[no-untyped-def]
    one, two, three, four, sixth = np.float32(1), np.float32(2), np.float32(3), np.float32(4), np.float32(1 / 6)
    r = one - t
    second, third = four + three * t * t * (t - two), four + three * r * r * (r - two)
    return sixth * r * r * r, sixth * second, sixth * third, sixth * t * t * t


def warp(
    coefficients: Array,
    field: Array,
    gain: float | np.float32 = 1.0,
    offset: float | np.float32 = 0.0,
    where: NDArray[np.bool_] | None = None,
    known: tuple[Array, NDArray[np.bool_]] | None = None,
) -> tuple[Array, NDArray[np.bool_]]:
    """gain * image(p + field(p)) + offset (rows, columns) from the image's cubic B-spline coefficients.

    And which samples (rows, columns, bool) came from within the image; the others hold its edge. Where `where` is
    false both are those of `known` (zero and within when there is none).
    """
    shape = field.shape[:2]
    out, inside = (
        (np.zeros(shape, np.float32), np.ones(shape, np.bool_)) if known is None else (known[0].copy(), known[1].copy())
    )
    _warp(coefficients, field, np.float32(gain), np.float32(offset), where if where is not None else _ALL, out, inside)
    return out, inside


_ALL = np.ones((0, 0), np.bool_)


@njit(cache=True, nogil=True)
def _warp(coefficients, field, gain, offset, where, out, inside):  # type: ignore[no-untyped-def]
    rows, columns = coefficients.shape
    low, right, bottom = np.float32(0), np.float32(columns - 1), np.float32(rows - 1)
    everywhere = where.size == 0
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if not (everywhere or where[i, j]):
                continue
            x, y = np.float32(j) + field[i, j, 0], np.float32(i) + field[i, j, 1]
            inside[i, j] = low <= x <= right and low <= y <= bottom
            x, y = min(max(x, low), right), min(max(y, low), bottom)
            q, k = int(x), int(y)
            a, b, c, d = _weights(x - np.float32(q))
            e, f, g, h = _weights(y - np.float32(k))
            q0, q1, q2, q3 = q - 1, q, q + 1, q + 2
            k0, k1, k2, k3 = k - 1, k, k + 1, k + 2
            if not (1 <= k < rows - 2 and 1 <= q < columns - 2):  # mirrored edges
                q0, q2 = abs(q0), (columns - 1) - abs((columns - 1) - q2)
                q3 = (columns - 1) - abs((columns - 1) - q3)
                k0, k2 = abs(k0), (rows - 1) - abs((rows - 1) - k2)
                k3 = (rows - 1) - abs((rows - 1) - k3)
            one, two = coefficients[k0], coefficients[k1]
            three, four = coefficients[k2], coefficients[k3]
            value = e * (a * one[q0] + b * one[q1] + c * one[q2] + d * one[q3])
            value += f * (a * two[q0] + b * two[q1] + c * two[q2] + d * two[q3])
            value += g * (a * three[q0] + b * three[q1] + c * three[q2] + d * three[q3])
            value += h * (a * four[q0] + b * four[q1] + c * four[q2] + d * four[q3])
            out[i, j] = gain * value + offset


@njit(cache=True, nogil=True)
def _slope(image, i, j):  # type: ignore[no-untyped-def]
    """Fourth-order central difference (d/dx, d/dy) at row i, column j; edges replicate."""
    rows, columns = image.shape
    eight, scale = np.float32(8), np.float32(1 / 12)
    a, b, c, d = max(j - 2, 0), max(j - 1, 0), min(j + 1, columns - 1), min(j + 2, columns - 1)
    dx = scale * (image[i, a] - eight * image[i, b] + eight * image[i, c] - image[i, d])
    a, b, c, d = max(i - 2, 0), max(i - 1, 0), min(i + 1, rows - 1), min(i + 2, rows - 1)
    return dx, scale * (image[a, j] - eight * image[b, j] + eight * image[c, j] - image[d, j])


@njit(cache=True, nogil=True)
def linearise(reference, warped, inside, field, scale, cell, tensor, force):  # type: ignore[no-untyped-def]
    """Sum structure tensor xx, yy, xy and gradient times residual into cells of `cell` x `cell` pixels.

    The gradient is the mean over both images (efficient second-order minimisation, Malis 2004), taken on the
    grid and turned back by the field's Jacobian: the exact derivative of the interpolator would pull noisy images
    towards half pixels. Residuals beyond `scale` lose weight (Charbonnier).
    """
    rows, columns = reference.shape
    tensor[:] = 0
    force[:] = 0
    half, one = np.float32(0.5), np.float32(1)
    for i in range(rows):
        up, down = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            if not inside[i, j]:
                continue
            left, right = max(j - 1, 0), min(j + 1, columns - 1)
            ax, ay = _slope(reference, i, j)
            bx, by = _slope(warped, i, j)
            sx, sy = half * (ax + bx), half * (ay + by)
            across, along = one / np.float32(right - left), one / np.float32(down - up)
            xx = one + across * (field[i, right, 0] - field[i, left, 0])
            yx = across * (field[i, right, 1] - field[i, left, 1])
            xy = along * (field[down, j, 0] - field[up, j, 0])
            yy = one + along * (field[down, j, 1] - field[up, j, 1])
            volume = max(xx * yy - xy * yx, np.float32(0.3))
            gx, gy = (yy * sx - yx * sy) / volume, (xx * sy - xy * sx) / volume
            error = warped[i, j] - reference[i, j]
            ratio = error / scale
            weight = one / np.sqrt(one + ratio * ratio)
            p, q = i // cell, j // cell
            tensor[p, q, 0] += weight * gx * gx
            tensor[p, q, 1] += weight * gy * gy
            tensor[p, q, 2] += weight * gx * gy
            force[p, q, 0] += weight * gx * error
            force[p, q, 1] += weight * gy * error
