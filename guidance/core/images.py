"""Images in, jobs for the lanes out; results in, maps and overlays out."""

from collections.abc import Iterator
from typing import Any

from devices.messages import Image, Matrix, Overlay
from devices.quality import Quality
from guidance.events import Effect, Job, JobDone
from guidance.exact import compose
from guidance.navigation.tracking import Tracking
from guidance.outputs.planes import VIEWS
from guidance.outputs.routes import Routes
from guidance.settings import RoomSettings
from guidance.timing.ring import Kind
from guidance.timing.streams import StreamState

WAIT_NS = 50_000_000  # an image waits this long for the pose after it
PLANES_NS = 100_000_000  # plane views without a fresh map follow the tool at this pace
TEMPERATURE = "thermometry"


class ImageDesk:
    """Knows which job each image asks for and what is made of each result."""

    def __init__(self, settings: RoomSettings, tracking: Tracking, routes: Routes) -> None:
        self._tracking = tracking
        self._routes = routes
        self._jobs = 0
        self._pointer = next((tool.name for tool in settings.tools if tool.role == "tool"), None)
        self._waiting: dict[str, tuple[Image, int]] = {}  # stream -> (image, service time of it)
        self._told: dict[int, dict[str, int]] = {}
        self._volume: dict[str, Any] = {}  # newest volume and its maps, for the plane views
        self.evidence: dict[str, int] = {}  # what the newest volume was made from
        self._planes_ns = 0
        self._makes = {"thermometry": self._thermometry, "ultrasound": self._frame, "xray": self._frame}
        self._makes["cine"] = self._volume_only

    def take(self, state: StreamState, image: Image, now_ns: int) -> list[Effect]:
        """One image: its job, at once or as soon as the pose at its time is known."""
        state.arrived(now_ns, image.device_time_ns, image.number)
        stream = state.settings
        aligned = self._tracking.alignments[stream.link].align(image.device_time_ns, now_ns, stream.name)
        return list(self._makes[stream.kind](stream.name, image, aligned.time_ns, now_ns))

    def _job(self, lane: str, slot: str, kind: str, inputs: dict[str, Any], told: dict[str, int]) -> Job:
        self._jobs += 1
        self._told[self._jobs] = told
        return Job(self._jobs, lane, slot, kind, inputs, told)

    def _thermometry(self, name: str, image: Image, time_ns: int, now_ns: int) -> Iterator[Effect]:
        inputs = {"image": image, "time_s": time_ns / 1e9}
        yield self._job("guard", f"thermometry:{name}", "thermometry", inputs, _told(name, image, now_ns))

    def _volume_only(self, name: str, image: Image, time_ns: int, now_ns: int) -> Iterator[Effect]:
        self._volume = {"image": image}
        self.evidence = _told(name, image, now_ns)
        yield from self._planes(now_ns)

    def _frame(self, name: str, image: Image, time_ns: int, now_ns: int) -> Iterator[Effect]:
        if not self._routes.carries("overlay"):
            return
        self._waiting[name] = (image, time_ns)
        yield from self.retry(now_ns)

    def retry(self, now_ns: int) -> Iterator[Effect]:
        """Frames whose pose has come, or has not come in time (then the frame is drawn as not placed)."""
        for name, (image, time_ns) in list(self._waiting.items()):
            placed = self._tracking.frame_at(image.frame, time_ns)
            if placed is Kind.TOO_OLD and now_ns - image.receive_time_ns < WAIT_NS:
                continue
            del self._waiting[name]
            told = _told(name, image, image.receive_time_ns)
            inputs: dict[str, Any] = {"stream": name, "image": image, "tools": self._tools(now_ns)}
            if not isinstance(placed, Kind):
                ras_from_frame, poses = placed
                inputs["ras_from_image"] = compose(ras_from_frame, image.frame_from_image_mm)
                told |= poses
            yield self._job("show", f"frame:{name}", "frame", inputs, told)

    def _tools(self, now_ns: int) -> dict[str, Matrix]:
        placed = (self._tracking.place(name, now_ns) for name in self._tracking.tools)
        return {p.tool.name: p.ras_from_tool for p in placed if p is not None and p.quality is Quality.OK}

    def _planes(self, now_ns: int) -> Iterator[Effect]:
        if not self._routes.carries("overlay"):
            return
        self._planes_ns = now_ns
        inputs = {**self._volume, "tools": self._tools(now_ns), "pointer": self._pointer or ""}
        yield self._job("show", "planes", "planes", inputs, self.evidence)

    def tick(self, now_ns: int) -> Iterator[Effect]:
        """Late frames, and plane views that follow the tool where no volume drives them."""
        yield from self.retry(now_ns)
        if not self._volume and now_ns - self._planes_ns >= PLANES_NS and self._tools(now_ns):
            yield from self._planes(now_ns)

    def done(self, result: JobDone) -> list[Effect]:
        """What one finished job makes: the next job or messages."""
        told = self._told.pop(result.job, {})
        if result.failed:
            return []
        if result.kind == TEMPERATURE:
            self._volume = dict(result.arrays)
            self.evidence = told
            return list(self._planes(result.now_ns))
        quality = Quality(str(result.facts.get("quality", Quality.OK.value)))
        return [effect for view in _views(result) for effect in self._overlay(view, result, quality, told)]

    def _overlay(self, view: str, result: JobDone, quality: Quality, told: dict[str, int]) -> Iterator[Effect]:
        message = Overlay(
            name=f"overlay-{view}",
            view=view,
            device_time_ns=result.now_ns,
            rgba=result.arrays[view],
            ras_from_image_mm=result.arrays[f"{view}.ras"],
            quality=quality,
            evidence=told,
        )
        yield from self._routes.to("overlay", message, view=view)


def _views(result: JobDone) -> list[str]:
    return [name for name in (*VIEWS, "frame") if name in result.arrays]


def _told(name: str, image: Image, now_ns: int) -> dict[str, int]:
    return {name: now_ns, f"{name}.device_ns": image.device_time_ns}
