"""What pages may see as pictures: the newest of each, encoded once for all pages, beside the loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from guidance.console.frames import MISSING, Layer, grey, jpeg, log_quantised, pack, quantised
from guidance.console.regions import Regions
from guidance.events import AnyEvent, Arrival, Effect, Job
from guidance.service.room import Room

VOLUME = "volume"
LABELS = "labels"
FORECAST = "forecast"
LESION = "lesion"
KELVIN_STEP, COLDEST_C = 0.01, -60.0
SIGMA_STEP_C = 0.001
DOSE_STEP, DOSE_FROM = 0.0002, -4.0  # of log10(CEM43 minutes)
LEAST_DOSE_MIN = 0.01  # reads 0.0; what is less is not told voxel by voxel
LIGHT_VOXELS = 160_000  # take half a millisecond


class _Source(msgspec.Struct):
    """The newest of one stream of pictures."""

    number: int
    header: dict[str, Any]
    arrays: dict[str, Any]


class Sources:
    """A watcher of the room: raw volumes and live frames by name, with `number` rising for each.

    Encoding runs only when a page asks, in one thread of its own unless it is too small for that.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._newest: dict[str, _Source] = {}
        self._packed: dict[str, tuple[int, bytes]] = {}
        self._packing: dict[str, asyncio.Task[None]] = {}
        self._thread = ThreadPoolExecutor(1, "console")
        self._seen_volume = 0
        self._geometry: tuple[bytes, tuple[int, ...]] = (b"", ())
        self._region: object = None
        self._lesion: object = None
        settings = room.core.settings
        self._videos = {(s.link, s.message_name): s.name for s in settings.streams if s.kind == "video"}
        self.regions = Regions(room.core.plan, room.core.settings)
        self.listeners: set[asyncio.Event] = set()
        room.watchers.append(self._see)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def numbers(self) -> dict[str, int]:
        """Name of every stream of pictures and the number of its newest."""
        return {name: source.number for name, source in self._newest.items()}

    def ages_ms(self, now_ns: int) -> dict[str, float]:
        """Age of the newest of each by its receive time."""
        return {name: (now_ns - source.header["receive_ns"]) / 1e6 for name, source in self._newest.items()}

    def ready(self, name: str, least: int) -> tuple[int, bytes] | None:
        """(number, bytes) of `name` packed from number `least` on; else None, and listeners are told when it is.

        A small picture that needs no new outlines or masks is packed at once, everything else beside the loop: giving
        work to a thread and taking it back waits for the interpreter twice. Pages that ask share the work.
        """
        done = self._packed.get(name)
        if done is not None and done[0] >= least:
            return done
        source = self._newest[name]
        if name not in self._packing:
            if self._is_light(name, source):
                self._packed[name] = (source.number, self._encode(name, source))
                return self._packed[name]
            task = self._packing[name] = asyncio.create_task(self._pack(name, source))
            task.add_done_callback(partial(self._told, name))
        return None

    def _is_light(self, name: str, source: _Source) -> bool:
        arrays = source.arrays
        if name == VOLUME:
            return arrays["magnitude"].size <= LIGHT_VOXELS and self.regions.has_masks(arrays)
        if name in _LAYERS or "video" in arrays or arrays["pixels"].dtype != np.uint8:
            return False
        return self.regions.has_lines(arrays)

    def _told(self, name: str, task: asyncio.Task[None]) -> None:
        del self._packing[name]
        self._wake()
        if not task.cancelled():
            task.result()  # what went wrong there is told here

    def _wake(self) -> None:
        for listener in self.listeners:
            listener.set()

    async def _pack(self, name: str, source: _Source) -> None:
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self._thread, self._encode, name, source)
        self._packed[name] = (source.number, data)

    def _encode(self, name: str, source: _Source) -> bytes:
        if name == VOLUME:
            self.regions.measure(source.arrays)
        header = source.header
        if name not in _LAYERS:
            header = {**header, "lines": self.regions.lines_on(source.arrays)}
        return pack(header, _LAYERS.get(name, _live_layers)(source.arrays, self.regions))

    # --- watching -------------------------------------------------------------------------------

    def _see(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        scene = self._room.core.scene
        if isinstance(event, Arrival) and isinstance(event.message, Image):
            video = self._videos.get((event.link, event.message.name))
            if video:
                self._frame(video, event.message, None, {"video": colours(event.message.pixels)})
        if scene.volume_number != self._seen_volume:
            self._seen_volume = scene.volume_number
            self._volume(scene.volume, scene.volume_evidence)
        for effect in effects:
            if isinstance(effect, Job) and effect.kind == "frame":
                self._frame(effect.inputs["stream"], effect.inputs["image"], effect.inputs.get("ras_from_image"))
            elif isinstance(effect, Job) and effect.kind == "cine_frame":
                self._cine(effect.inputs["image"])

    def _volume(self, volume: dict[str, Any], evidence: dict[str, int]) -> None:
        row = self._room.core.settings.thermometry
        stream = row.stream if row else ""
        shape = volume["magnitude"].shape
        told = {
            "receive_ns": evidence.get(stream, 0),
            "device_ns": evidence.get(f"{stream}.device_ns", 0),
            "ras_from_image": volume["ras_from_image"].tolist(),
            "shape": shape,
        }
        self._put(VOLUME, told, volume)
        geometry = (volume["ras_from_image"].tobytes(), shape)
        if geometry != self._geometry:
            self._geometry = geometry
            self._put(LABELS, told, volume)
        region = volume.get("region_dose_min")
        if region is not None and region is not self._region:
            self._region = region
            where = {"ras_from_image": volume["region_ras"].tolist(), "shape": region.shape}
            self._put(FORECAST, told | where, volume)
        lesion = next((volume[name] for name in LESIONS if name in volume), None)
        if lesion is not None and lesion is not self._lesion:
            self._lesion = lesion
            where = {"ras_from_image": volume["lesion_ras"].tolist(), "shape": lesion.shape}
            self._put(LESION, told | where, volume)

    def _cine(self, image: Image) -> None:
        motion = self._room.core.motion
        row, facts = motion.row, motion.facts
        if row is None:
            return
        ras = image.frame_from_image_mm if image.frame == "RAS" else None
        moved = (facts["x_mm"], facts["y_mm"]) if facts.get("usable") else None
        self._frame(row.stream, image, ras, {"target": row.target, "moved_mm": moved})

    def _frame(self, stream: str, image: Image, ras: Matrix | None, extra: dict[str, Any] | None = None) -> None:
        pixels = flat(image.pixels)
        told = {
            "receive_ns": image.receive_time_ns,
            "device_ns": image.device_time_ns,
            "ras_from_image": None if ras is None or not image.quality.usable else ras.tolist(),
            "shape": (1, *pixels.shape),
        }
        self._put(stream, told, {"pixels": pixels, "ras": ras, **(extra or {})})

    def _put(self, name: str, told: dict[str, Any], arrays: dict[str, Any]) -> None:
        old = self._newest.get(name)
        number = 1 if old is None else old.number + 1
        plan = self._room.core.plan
        header = {"stream": name, "seq": number, "plan": plan.content_sha256[:8] if plan else "", **told}
        self._newest[name] = _Source(number, header, arrays)
        self._wake()

    def newest(self, name: str) -> dict[str, Any]:
        """Arrays of the newest of `name`, for questions about single voxels; empty before the first."""
        source = self._newest.get(name)
        return source.arrays if source else {}


def flat(pixels: NDArray[Any]) -> NDArray[Any]:
    """The (row, column) picture of an image message: its first slice, magnitude, first component."""
    plane = pixels[0] if pixels.ndim >= 3 else pixels
    if plane.ndim == 3:
        plane = plane[..., 0]
    return np.abs(plane) if np.iscomplexobj(plane) else plane


def colours(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """The (row, column) or (row, column, RGB) uint8 picture of a video message: its first slice."""
    plane = pixels[0] if pixels.ndim >= 3 else pixels
    picture = plane if plane.dtype == np.uint8 else grey("video", flat(pixels)).values.astype(np.uint8)
    return picture[..., :3] if picture.ndim == 3 and picture.shape[-1] >= 3 else flat(picture[np.newaxis])


def _volume_layers(volume: dict[str, Any], regions: Regions) -> list[Layer]:
    layers = [grey("magnitude", volume["magnitude"])]
    if "temperature_c" in volume:
        valid, dose = volume["valid"], volume["dose_cem43_min"]
        layers += [
            quantised("temperature", volume["temperature_c"], "degC", KELVIN_STEP, COLDEST_C, valid).cut(MISSING),
            quantised("sigma", volume["sigma_c"], "degC", SIGMA_STEP_C, 0.0, valid).cut(MISSING),
            _log_dose("dose", dose).cut(0),
        ]
    return layers


def _label_layers(volume: dict[str, Any], regions: Regions) -> list[Layer]:
    return [Layer("labels", regions.labels(volume["ras_from_image"], volume["magnitude"].shape))]


def _log_dose(name: str, dose_min: NDArray[Any]) -> Layer:
    return log_quantised(name, dose_min, "log10 min", DOSE_STEP, DOSE_FROM, LEAST_DOSE_MIN)


# map of a burnt or frozen region, whose outline is where it is 0 -> layer, unit, step, lowest value
LESIONS: dict[str, tuple[str, str, float, float]] = {
    "damage_log10": ("damage", "log10", 0.0005, -6.0),
    "damage_forecast_log10": ("damage_forecast", "log10", 0.0005, -6.0),
    "ice_depth_mm": ("ice", "mm", 0.005, -160.0),
    "ice_lethal_mm": ("lethal", "mm", 0.005, -160.0),
    "ice_below_-20": ("below_20", "degC", 0.005, -160.0),
    "ice_below_-40": ("below_40", "degC", 0.005, -160.0),
}


def _lesion_layers(volume: dict[str, Any], regions: Regions) -> list[Layer]:
    """What a laser has burnt or needles have frozen, and what is to be expected."""
    rows = [(volume[name], *row) for name, row in LESIONS.items() if name in volume]
    return [quantised(layer, values, unit, step, lowest) for values, layer, unit, step, lowest in rows]


def _forecast_layers(volume: dict[str, Any], regions: Regions) -> list[Layer]:
    """The dose in tissue coordinates, and what it will be if power goes off now."""
    layers = [_log_dose("dose", volume["region_dose_min"])]
    if "forecast_min" in volume and volume["forecast_min"].shape == volume["region_dose_min"].shape:
        layers.append(_log_dose("forecast", volume["forecast_min"]))
    return layers


def _live_layers(live: dict[str, Any], regions: Regions) -> list[Layer]:
    return [jpeg(live["video"])] if "video" in live else [grey("magnitude", live["pixels"])]


_LAYERS = {VOLUME: _volume_layers, LABELS: _label_layers, FORECAST: _forecast_layers, LESION: _lesion_layers}
