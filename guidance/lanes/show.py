"""The show lane: overlays. What is drawn is what was measured; what is missing is hatched, never guessed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from devices.quality import Quality
from guidance.exact import apply, invert
from guidance.navigation.zones import Carried
from guidance.outputs import draw
from guidance.outputs.dose_lines import dose_lines
from guidance.outputs.heat import lay_heat
from guidance.outputs.lesion_lines import lesion_lines
from guidance.outputs.palette import scale_of
from guidance.outputs.planes import VIEWS, Plane, plane_through, sample_nearest
from guidance.plan import Plan, Shape
from guidance.plan.raster import contours
from guidance.settings import RoomSettings, Tool

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Tips = dict[str, tuple[tuple[float, ...], float]]  # tool -> tip in its own frame, sigma per axis in RAS, mm
Zones = list[tuple[Shape, Matrix]]  # shapes of the plan with `ras_from_planned`
NEAR_MM = 2.0  # a tip or target this far off the plane counts as in it
PLANE_SIZE = 256
PLANE_PIXEL_MM = 0.8
REACHES = 4.0  # reaches of a lesion around its applicator that a plane view shows across
_SHOWN_STATES = ("ok", "acquiring_reference")  # of thermometry: the anatomy behind it is live and unquestioned

# role of a structure -> how it is drawn: shape of the line and colour both tell
_STROKES: dict[str, tuple[Callable[..., None], str]] = {
    "target": (draw.line, "target"),
    "organ": (partial(draw.line, width=1), "organ"),
    "surface": (partial(draw.line, width=1), "organ"),
}
_AT_RISK = (draw.dashed, "organ_at_risk")


class ShowWork:
    """Draws frames and plane views; its only state is the grey level that keeps the picture steady."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._plan = plan
        self._scale = scale_of(settings)
        self._tools: dict[str, Tool] = {tool.name: tool for tool in settings.tools}
        self._white: dict[str, float] = {}
        lesion = settings.laser or settings.cryo
        self._pixel_mm = REACHES * lesion.reach_mm / PLANE_SIZE if lesion else PLANE_PIXEL_MM

    def frame(
        self,
        stream: str,
        image: Image,
        tools: dict[str, Matrix],
        tips: Tips,
        zones: Zones,
        void: str,
        ras_from_image: Matrix | None = None,
    ) -> Result:
        """One live frame with plan and tools drawn where they cut it; unplaced frames say so."""
        grey = _flat(image.pixels)
        picture = draw.grey_rgba(grey, self._level(stream, grey))
        placed = ras_from_image is not None and image.quality.usable
        if ras_from_image is not None and placed:
            self._overlay(picture, ras_from_image, tools, tips, zones)
        else:
            draw.label(picture, "PROBE NOT LIVE" if not void else "NOT GUIDED", (8, 20), size=0.6)
            draw.label(picture, void, (8, 40))
        ras = np.eye(4) if ras_from_image is None else ras_from_image
        facts: Facts = {"quality": (Quality.OK if placed else Quality.MISSING).value}
        return facts, {"frame": picture, "frame.ras": ras}

    def planes(
        self, tools: dict[str, Matrix], tips: Tips, zones: Zones, void: str, pointer: str, **volume: Any
    ) -> Result:
        """Three orthogonal planes through the tool's tip, or the first target where no tool is live."""
        centre = self._centre(tools, tips, pointer)
        out: dict[str, Any] = {}
        for view in VIEWS:
            plane = plane_through(view, centre, PLANE_SIZE, self._pixel_mm)
            picture = self._background(plane, volume)
            dose_lines(picture, plane, volume)
            lesion_lines(picture, plane, volume)
            self._overlay(picture, plane.ras_from_pixel, tools, tips, zones)
            draw.label(picture, void, (8, 20), size=0.4)
            draw.letters(picture, VIEWS[view][2])
            out[view], out[f"{view}.ras"] = picture, plane.ras_from_pixel
        state = str(volume.get("state", "ok"))
        facts: Facts = {"quality": (Quality.OK if state in _SHOWN_STATES else Quality.SUSPECT).value}
        return facts, out

    def _level(self, key: str, grey: NDArray[Any]) -> float:
        """Value shown as white: the brightest 0.2 % saturate; followed slowly, so that nothing flickers."""
        white = float(np.percentile(grey[::4, ::4], 99.8)) or 1.0
        last = self._white.get(key, white)
        self._white[key] = 0.95 * last + 0.05 * white
        return self._white[key]

    def _centre(self, tools: dict[str, Matrix], tips: Tips, pointer: str) -> NDArray[np.float64]:
        if pointer in tools:
            tip: NDArray[np.float64] = apply(tools[pointer], np.array([tips[pointer][0]], float))[0]
            return tip
        if self._plan is not None and self._plan.targets:
            return np.asarray(self._plan.targets[0].center_mm, float)
        return np.zeros(3)

    def _background(self, plane: Plane, volume: dict[str, Any]) -> draw.Picture:
        ras = volume.get("ras_from_image")
        source = volume.get("magnitude")
        if source is None or ras is None:
            picture = np.zeros((plane.size, plane.size, 4), np.uint8)
            picture[..., 3] = 255
            return picture
        grey = sample_nearest(source, ras, plane)
        picture = draw.grey_rgba(grey, self._level("volume", source[source.shape[0] // 2]))
        state = volume.get("state")
        if state not in (None, "ok"):
            draw.label(picture, f"NO TEMPERATURE: {str(state).replace('_', ' ')}", (8, plane.size - 22), size=0.4)
        elif "temperature_c" in volume:
            lay_heat(picture, volume["temperature_c"], volume["valid"], ras, plane, self._scale)
        return picture

    def _overlay(
        self, picture: draw.Picture, ras_from_pixel: Matrix, tools: dict[str, Matrix], tips: Tips, zones: Zones
    ) -> None:
        size = (picture.shape[0], picture.shape[1])
        for shape, ras_from_planned in zones:
            for outline in contours(Carried(shape, ras_from_planned), ras_from_pixel, size):
                draw.line(picture, outline, "dose", width=1)
        pixel_from_ras = _flattened(ras_from_pixel)
        self._ways(picture, pixel_from_ras)
        self._outlines(picture, ras_from_pixel)  # with labels, so over everything but the tools
        self._draw_tools(picture, pixel_from_ras, tools, tips)

    def _ways(self, picture: draw.Picture, pixel_from_ras: Matrix) -> None:
        """Every trajectory whose target lies within its corridor of this plane, and the corridor's two sides."""
        for way in self._plan.trajectories if self._plan else ():
            ends = apply(pixel_from_ras, np.array([way.entry_mm, way.target_mm]))
            along = ends[1] - ends[0]
            length_px = float(np.hypot(along[0], along[1]))
            if abs(float(ends[1, 2])) > max(way.corridor_mm, NEAR_MM):
                continue
            corridor_px = way.corridor_mm * _scale(pixel_from_ras)
            if length_px < 4.0 * corridor_px:  # it runs through the picture: its corridor is a ring
                draw.ring(picture, ends[1, :2], "way", corridor_px)
                continue
            draw.line(picture, ends[:, :2], "way")
            draw.ring(picture, ends[1, :2], "way")
            aside = np.array([-along[1], along[0]]) / length_px * corridor_px
            for side in (aside, -aside):
                draw.line(picture, ends[:, :2] + side, "way", width=1)

    def _outlines(self, picture: draw.Picture, ras_from_pixel: Matrix) -> None:
        if self._plan is None:
            return
        size = (picture.shape[0], picture.shape[1])
        labels = draw.Labels(picture, 0.4 if size[0] <= PLANE_SIZE else 0.5)
        for structure in self._plan.structures:
            stroke, kind = _STROKES.get(structure.role, _AT_RISK)
            for outline in structure.contours(ras_from_pixel, size):
                stroke(picture, outline, kind)
                top = outline[outline[:, 1].argmin()]
                labels.write(structure.name, (float(top[0]), float(top[1]) - 4.0))

    def _draw_tools(self, picture: draw.Picture, pixel_from_ras: Matrix, tools: dict[str, Matrix], tips: Tips) -> None:
        for name, ras_from_tool in tools.items():
            tool = self._tools[name]
            if tool.role != "tool":
                continue
            place, sigma_mm = tips[name]
            tip = np.array(place)
            ends = np.array([tip, tip + np.array(tool.axis) * tool.length_mm])
            shaft = apply(pixel_from_ras, apply(ras_from_tool, ends))
            draw.line(picture, shaft[:, :2], "tool", width=1)
            off_mm = abs(float(shaft[0, 2]))
            draw.cross(picture, shaft[0, :2], "tool" if off_mm <= 2.0 * sigma_mm + NEAR_MM else "not_live")
            draw.ellipse(picture, shaft[0, :2], pixel_from_ras, 2.0 * sigma_mm, "tool")


def _flattened(ras_from_pixel: Matrix) -> Matrix:
    """`pixel_from_ras`: column and row in pixels, and mm off the plane."""
    flat = ras_from_pixel.copy()
    normal = np.cross(flat[:3, 0], flat[:3, 1])
    flat[:3, 2] = normal / np.linalg.norm(normal)
    return invert(flat)


def _scale(pixel_from_ras: Matrix) -> float:
    """Pixels a mm along the picture's rows."""
    return float(np.linalg.norm(pixel_from_ras[0, :3]))


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    """The (row, column) picture of an image message: its first slice, magnitude, first component."""
    plane = pixels[0] if pixels.ndim >= 3 else pixels
    if plane.ndim == 3:
        plane = plane[..., 0]
    return np.abs(plane) if np.iscomplexobj(plane) else plane
