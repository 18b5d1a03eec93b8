"""View desk: live frames with the plan drawn at the image's time, and plane views through tool or target."""

from collections.abc import Iterable, Iterator
from typing import Any

from devices.messages import AnyMessage, Image, Overlay
from devices.quality import Quality
from guidance.core.scene import Desk, Scene, image_evidence
from guidance.events import Effect, JobDone
from guidance.exact import compose
from guidance.outputs.lesion_lines import DRAWN
from guidance.outputs.planes import VIEWS
from guidance.settings import Tool
from guidance.timing.ring import Kind
from guidance.timing.streams import StreamState
from guidance.units import ms

WAIT_NS = ms(50)  # a frame waits this long for the pose after it
PLANES_NS = ms(100)  # plane views that no new volume drives follow the tool at this pace


class ViewDesk(Desk):
    """Asks the show lane for pictures and sends what it drew."""

    kinds = frozenset({"ultrasound", "xray", "video"})
    takes = (Image,)
    jobs = frozenset({"frame", "planes"})

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._pointer = next((tool.name for tool in scene.settings.tools if tool.role == "tool"), "")
        self._waiting: dict[str, tuple[StreamState, Image, int]] = {}
        self._planes_ns = 0
        self._shown = 0  # number of the volume that the plane views were last asked for

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One live frame; it is drawn as soon as the pose at its time is known."""
        if not isinstance(message, Image) or state.settings.kind == "video":  # a room camera: shown, never drawn on
            return ()
        self._scene.pictures[message.frame] = message.frame_from_image_mm
        search = self._scene.searched.get(state.settings.name)
        if search is not None:
            time_ns = self._scene.tracking.time_ns(state.settings, message.device_time_ns, now_ns)
            inputs = {"image": message, "time_s": time_ns / 1e9}
            return (self._scene.job("study", "", search, inputs, image_evidence(state, message)),)
        if not self._scene.routes.carries("overlay", ("frame",)):
            return ()
        self._waiting[state.settings.name] = (
            state,
            message,
            self._scene.tracking.time_ns(state.settings, message.device_time_ns, now_ns),
        )
        return self.follow(now_ns)

    def follow(self, now_ns: int) -> Iterator[Effect]:
        """After any event: frames whose pose has come (or not in time), and a volume that is new."""
        for name, (state, image, time_ns) in list(self._waiting.items()):
            placed = self._scene.tracking.frame_at(image.frame, time_ns)
            if placed is Kind.TOO_OLD and now_ns - image.receive_time_ns < WAIT_NS:
                continue
            del self._waiting[name]
            told = image_evidence(state, image)
            inputs: dict[str, Any] = {"stream": name, "image": image, **self._drawn(now_ns)}
            if not isinstance(placed, Kind):
                ras_from_frame, poses = placed
                inputs["ras_from_image"] = compose(ras_from_frame, image.frame_from_image_mm)
                told |= poses
            yield self._scene.job("show", f"frame:{name}", "frame", inputs, told)
        if self._shown != self._scene.volume_number:
            self._shown = self._scene.volume_number
            yield from self._planes(now_ns)

    def _planes(self, now_ns: int) -> Iterator[Effect]:
        if self._scene.routes.carries("overlay", VIEWS):
            self._planes_ns = now_ns
            poses = self._scene.live_tools(now_ns)[1]
            volume = {name: value for name, value in self._scene.volume.items() if name in DRAWN}
            inputs = {**volume, **self._drawn(now_ns), "pointer": self._pointer}
            yield self._scene.job("show", "planes", "planes", inputs, poses | self._scene.volume_evidence)

    def _drawn(self, now_ns: int) -> dict[str, Any]:
        """What is drawn over a picture beside the plan: tools with their tips and sigmas, and treated zones."""
        return {
            "tools": self._scene.live_tools(now_ns)[0],
            "tips": {tool.name: (tool.tip_mm, self._scene.sigma_mm(tool.name)) for tool in self._tools()},
            "zones": list(self._scene.zones),
            "void": next(iter(self._scene.tracking.void.values()), ""),
        }

    def _tools(self) -> list[Tool]:
        return [tool for tool in self._scene.tracking.tools.values() if tool.role == "tool"]

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """Pictures that the lane drew."""
        if result.failed:
            return
        quality = self._scene.quality(told, result.now_ns, Quality(str(result.facts["quality"])))
        for view in (name for name in (*VIEWS, "frame") if name in result.arrays):
            message = Overlay(
                name=f"overlay-{view}",
                view=view,
                device_time_ns=result.now_ns,
                rgba=result.arrays[view],
                ras_from_image_mm=result.arrays[f"{view}.ras"],
                quality=quality,
                evidence=told,
            )
            yield from self._scene.routes.to("overlay", message, view=view)

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """Late frames, and plane views that follow the tool where no volume drives them."""
        yield from self.follow(now_ns)
        if not self._shown and now_ns - self._planes_ns >= PLANES_NS and self._scene.live_tools(now_ns)[0]:
            yield from self._planes(now_ns)
