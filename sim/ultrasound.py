"""A simulated ultrasound scanner: B-mode pictures of the phantom's plane under the probe.

Cheap by design: the anatomy is sampled on a coarse grid and multiplied with prepared speckle, so
that a 512x512 frame takes about a millisecond. The picture is sent in the frame `Image` (mm, x to
the right, y into depth, origin at the top left pixel); where that lies on the probe is the
calibration `probe_from_image`, which the room must know.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from devices.messages import AnyMessage, Image
from devices.peer import NEVER_NS
from sim.phantom.anatomy import body_grid, body_labels, table
from sim.phantom.world import World
from sim.space import Matrix, matrix
from sim.tools import ToolMotion

_COARSE = 8  # pixels per anatomy sample
_TILES = 4

# x of the image along the probe's x, depth along its z, 64 mm to the left, 20 mm before the marker
PROBE_FROM_IMAGE = ((1, 0, 0, -64), (0, 0, -1, 0), (0, 1, 0, 20), (0, 0, 0, 1))


class Ultrasound:
    """`probe` and `needle` name tools of a tracker that stands before this peer in the scenario.

    `depth_change` (at s, new depth in mm): a hand at the scanner changes the depth during the session.
    """

    heavy = True

    def __init__(
        self,
        *,
        name: str,
        world: World,
        rng: np.random.Generator,
        start_ns: int,
        tracked: dict[str, ToolMotion],
        device: str = "Ultrasound",
        probe: str = "Probe",
        needle: str = "",
        rate_hz: float = 30.0,
        size: Sequence[int] = (512, 512),
        depth_mm: float = 128.0,
        latency_ms: float = 30.0,
        clock_offset_ms: float = 0.0,
        probe_from_image: Sequence[Sequence[float]] = PROBE_FROM_IMAGE,
        frame: str = "Image",
        depth_change: Sequence[float] = (),
    ) -> None:
        if probe not in tracked or (needle and needle not in tracked):
            raise ValueError(f"tools {probe!r} and {needle!r} must be among the tracked {sorted(tracked)}")
        self.name = name
        self._world, self._rng, self._device, self._frame = world, rng, device, frame
        self._probe = tracked[probe]
        self._needle = tracked[needle] if needle else None
        self._rows, self._columns = int(size[0]), int(size[1])
        self._pixel_mm = depth_mm / self._rows
        self._change_ns = start_ns + round(depth_change[0] * 1e9) if depth_change else NEVER_NS
        self._later_mm = depth_change[1] / self._rows if depth_change else self._pixel_mm
        self.probe_from_image: Matrix = matrix(probe_from_image)
        self._image_from_pixel = np.diag([self._pixel_mm, self._pixel_mm, 1.0, 1.0])
        self._period_ns = round(1e9 / rate_hz)
        self._first_ns = start_ns
        self._latency_ns = round(latency_ms * 1e6)
        self._offset_ns = round(clock_offset_ms * 1e6)
        self._number = 0
        self._prepare()

    def _prepare(self) -> None:
        body = self._world.settings.body
        self._grid = body_grid(body)
        self._echo = table("echo")[body_labels(body)]
        rows, columns = self._rows, self._columns
        j, i = np.meshgrid(np.arange(0, rows, _COARSE), np.arange(0, columns, _COARSE), indexing="ij")
        millimetres = np.stack((i, j), axis=-1) * self._pixel_mm
        self._coarse_mm = np.concatenate((millimetres, np.zeros((*i.shape, 1)), np.ones((*i.shape, 1))), axis=-1)
        scatter = self._rng.standard_normal((_TILES, 2, rows + 64, columns + 64), dtype=np.float32)
        blurred = [[cv2.GaussianBlur(part, (0, 0), 1.6, sigmaY=0.8) for part in tile] for tile in scatter]
        envelope = [np.hypot(real, imaginary) for real, imaginary in blurred]
        self._speckle = [(110 * np.sqrt(tile / tile.mean())).clip(0, 255).astype(np.uint8) for tile in envelope]
        across = (np.arange(columns) - (columns - 1) / 2) * self._pixel_mm
        down = np.arange(rows)[:, None] * self._pixel_mm
        fan = np.abs(across) < 22 + 0.45 * down
        self._gain: NDArray[np.uint8] = np.where(fan, 255 * np.exp(-down / 220.0), 0).astype(np.uint8)

    def measured_ns(self, device_time_ns: int) -> int:
        """Service time at which a frame with this stamp was acquired."""
        return device_time_ns - self._offset_ns

    def ready_ns(self) -> int:
        """When the next frame has been acquired and can be made."""
        return self._first_ns + self._number * self._period_ns

    def next_due_ns(self) -> int:
        """When the next frame leaves."""
        return self.ready_ns() + self._latency_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """All frames due by `now_ns`."""
        said: list[AnyMessage] = []
        while self.next_due_ns() <= now_ns:
            acquired_ns = self.ready_ns()
            if acquired_ns >= self._change_ns:
                self._zoom(self._later_mm)
            pixels = self.picture(acquired_ns)
            pixels.flags.writeable = False
            said.append(
                Image(
                    name=self._device,
                    device_time_ns=acquired_ns + self._offset_ns,
                    pixels=pixels[None],
                    frame=self._frame,
                    frame_from_image_mm=self._image_from_pixel.copy(),
                    number=self._number,
                )
            )
            self._number += 1
        return said

    def _zoom(self, pixel_mm: float) -> None:
        """Somebody turned the depth: another scale from now on, and the picture says so."""
        self._change_ns = NEVER_NS
        self._coarse_mm[..., :3] *= pixel_mm / self._pixel_mm
        self._pixel_mm = pixel_mm
        self._image_from_pixel = np.diag([pixel_mm, pixel_mm, 1.0, 1.0])

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Nothing is commanded to this scanner."""

    def ras_from_image(self, now_ns: int) -> Matrix:
        """True pose of the picture's plane (4, 4), from image mm to RAS mm."""
        pose: Matrix = self._probe.ras_from_tool(now_ns) @ self.probe_from_image
        return pose

    def picture(self, now_ns: int) -> NDArray[np.uint8]:
        """The picture (rows, columns) uint8 acquired at `now_ns`."""
        ras_from_image = self.ras_from_image(now_ns)
        points = (self._coarse_mm @ ras_from_image.T)[..., :3]
        reference = self._world.reference_mm(points, now_ns)
        index = np.moveaxis((reference - np.asarray(self._grid.origin_mm)) / self._grid.voxel_mm, -1, 0)
        coarse = map_coordinates(self._echo, index, order=1, cval=0.0, output=np.float32)
        size = (self._columns, self._rows)
        bright = cv2.resize((coarse * 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
        tile = self._speckle[int(self._rng.integers(_TILES))]
        down, right = (int(n) for n in self._rng.integers(0, 64, 2))
        speckle = tile[down : down + self._rows, right : right + self._columns]
        picture = cv2.multiply(cv2.multiply(bright, speckle, scale=1 / 110), self._gain, scale=1 / 160)
        if self._needle is not None:
            self._draw(picture, self._needle, ras_from_image, now_ns)
        return np.asarray(picture, dtype=np.uint8)

    def _draw(self, picture: NDArray[np.uint8], needle: ToolMotion, ras_from_image: Matrix, now_ns: int) -> None:
        """A bright line where the needle's shaft lies within 2 mm of the plane."""
        tip = np.append(needle.tip_mm(now_ns), 1.0)
        back = tip - np.append(60.0 * needle.ras_from_tool(now_ns)[:3, 2], 0.0)
        ends = (np.linalg.inv(ras_from_image) @ np.stack((back, tip), axis=1)).T
        part = np.linspace(0, 1, 25)[:, None]
        line = ends[0] * (1 - part) + ends[1] * part
        seen = line[np.abs(line[:, 2]) < 2.0][:, :2] / self._pixel_mm
        if len(seen) > 1:
            cv2.polylines(picture, [np.round(seen).astype(np.int32)], False, 235, 2, cv2.LINE_AA)
