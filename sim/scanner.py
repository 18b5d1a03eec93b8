"""A simulated MR scanner: complex thermometry frames, or magnitude cine, of the shared patient."""

from collections.abc import Sequence

import msgspec
import numpy as np

from devices.messages import Acknowledgement, AnyMessage, Command, Image
from devices.quality import Quality
from sim.phantom.mr import GAMMA_BAR_HZ_PER_T, MrSignal, SequenceSettings
from sim.phantom.world import World
from sim.space import Matrix, Vector, unit, vector

EXHALED = 0.02  # share of a breath below which a triggered frame is taken
TRIGGER_NS = 20_000_000
REACH_MM = 200.0  # how far from the isocentre slices may lie
# plane -> (column direction i, row direction j, slice direction k), RAS, radiological view
PLANES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]] = {
    "coronal": ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (-1, 0, 0)),
    "axial": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
}


def stack_geometry(
    plane: str, centre_mm: Vector, shape: tuple[int, int, int], pixel_mm: float, slice_mm: float
) -> Matrix:
    """`ras_from_image_mm` (4, 4) of a stack of `shape` (slices, rows, columns) around `centre_mm`."""
    if plane not in PLANES:
        raise ValueError(f"plane {plane!r} is not one of {sorted(PLANES)}")
    geometry = np.eye(4)
    slices, rows, columns = shape
    for axis, direction in enumerate(PLANES[plane]):
        geometry[:3, axis] = unit(vector(direction)) * (slice_mm if axis == 2 else pixel_mm)
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2, (slices - 1) / 2])
    geometry[:3, 3] = centre_mm - geometry[:3, :3] @ middle
    return geometry


class Scanner:
    """One frame a period, stamped at the middle of its acquisition, sent `latency_ms` later.

    `component` is complex | magnitude. `pauses_s`: no frames; `repeats`: numbers of frames that are
    sent again instead of a new one; `late`: numbers of frames that are sent after their successor.
    `triggered`: each waits for the next exhale. `more_echo_times_s`: further echoes of every frame, their slices after
    those of the first; `lost_echoes` are numbers of frames without the last of them.
    """

    heavy = True  # its frames are made beside the loop

    def __init__(
        self,
        *,
        name: str,
        world: World,
        rng: np.random.Generator,
        start_ns: int,
        device: str = "MR",
        rate_hz: float = 5.0,
        shape: Sequence[int] = (5, 128, 128),
        pixel_mm: float = 2.5,
        slice_mm: float = 5.0,
        plane: str = "coronal",
        centre_mm: Sequence[float] | None = None,
        latency_ms: float = 60.0,
        clock_offset_ms: float = 0.0,
        component: str = "complex",
        sequence: dict[str, float] | None = None,
        pauses_s: Sequence[Sequence[float]] = (),
        repeats: Sequence[int] = (),
        late: Sequence[int] = (),
        start_s: float = 0.2,
        triggered: bool = False,
        more_echo_times_s: Sequence[float] = (),
        lost_echoes: Sequence[int] = (),
        frame: str = "RAS",
    ) -> None:
        if component not in ("complex", "magnitude"):
            raise ValueError(f"component is 'complex' or 'magnitude', not {component!r}")
        slices, rows, columns = (int(n) for n in shape)
        self.name = name
        self.geometry = stack_geometry(
            plane,
            world.target_mm if centre_mm is None else vector(centre_mm),
            (slices, rows, columns),
            pixel_mm,
            slice_mm,
        )
        self._more_s, self._lost = tuple(more_echo_times_s), frozenset(lost_echoes)
        self._world = world
        self._see(msgspec.convert(sequence or {}, SequenceSettings), (slices, rows, columns))
        self._rng = rng
        self._device = device
        self._plane, self._pixel_mm, self._slice_mm = plane, pixel_mm, slice_mm
        self._answers: list[AnyMessage] = []
        self._frame = frame
        self._complex = component == "complex"
        self._period_ns = round(1e9 / rate_hz)
        self._first_ns = start_ns + round(start_s * 1e9)
        self._latency_ns = round(latency_ms * 1e6)
        self._offset_ns = round(clock_offset_ms * 1e6)
        self._pauses = [(float(begin), float(end)) for begin, end in pauses_s]
        self._repeats, self._late = frozenset(repeats), frozenset(late)
        self._triggered = triggered
        self._held: list[Image] = []
        self._previous: Image | None = None
        self._number = -1
        self._step()

    def measured_ns(self, device_time_ns: int) -> int:
        """Service time at which a frame with this stamp was acquired."""
        return device_time_ns - self._offset_ns

    def ready_ns(self) -> int:
        """When the next frame has been acquired and can be made."""
        return self._acquired_ns()

    def next_due_ns(self) -> int:
        """When the next frame leaves; an answer leaves at once."""
        return self._world.start_ns if self._answers else self._acquired_ns() + self._latency_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """All frames due by `now_ns`, in the order in which they leave."""
        said, self._answers = self._answers, []
        while self.next_due_ns() <= now_ns:
            if self._number in self._repeats and self._previous is not None:
                said.append(self._previous)
            elif self._number in self._late:
                self._held.append(self._image())
            else:
                self._previous = self._image()
                said += [self._previous, *self._held]
                self._held.clear()
            self._step()
        return said

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """PLANE {x_mm, y_mm, z_mm} (RAS) moves the middle of the stack there from the next frame on."""
        if not isinstance(message, Command):
            return
        wanted = [message.values.get(key, float("nan")) for key in ("x_mm", "y_mm", "z_mm")]
        done = message.verb == "PLANE" and bool(np.isfinite(wanted).all()) and max(abs(w) for w in wanted) <= REACH_MM
        if done:
            shape = self.signal.shape
            self.geometry = stack_geometry(self._plane, np.array(wanted), shape, self._pixel_mm, self._slice_mm)
            self._see(self.signal.sequence, shape)
        self._answers.append(
            Acknowledgement(
                name=self._device, device_time_ns=now_ns, command_id=message.command_id, verb=message.verb, done=done,
                text="slices set" if done else f"{message.verb} {message.values} is not possible",
            )
        )  # fmt: skip

    def _see(self, sequence: SequenceSettings, shape: tuple[int, int, int]) -> None:
        """What the slices show, echo by echo."""
        self.signal = MrSignal(self._world, sequence, self.geometry, shape)
        self._later = [
            MrSignal(self._world, msgspec.structs.replace(sequence, echo_time_s=echo_s), self.geometry, shape)
            for echo_s in self._more_s
        ]

    def _acquired_ns(self) -> int:
        return self._at_ns

    def _step(self) -> None:
        self._number += 1
        while any(a <= self._world.seconds(self._planned_ns()) < b for a, b in self._pauses):
            self._number += 1
        self._at_ns = self._planned_ns()
        while self._triggered and self._world.breathing.fraction(self._world.seconds(self._at_ns)) > EXHALED:
            self._at_ns += TRIGGER_NS

    def _planned_ns(self) -> int:
        return self._first_ns + self._number * self._period_ns

    def _image(self) -> Image:
        acquired_ns = self._acquired_ns()
        later = self._later[: -1 if self._number in self._lost else None]
        pixels = np.concatenate([echo.frame(acquired_ns, self._rng) for echo in (self.signal, *later)])
        shown = pixels if self._complex else np.minimum(np.abs(pixels) * 1000, 65535).astype(np.uint16)
        shown.flags.writeable = False
        sequence = self.signal.sequence
        return Image(
            name=self._device,
            device_time_ns=acquired_ns + self._offset_ns,
            pixels=shown,
            frame=self._frame,
            frame_from_image_mm=self.geometry,
            quality=Quality.OK,
            number=self._number,
            tags={
                **_echo_tags([echo.sequence.echo_time_s for echo in (self.signal, *later)]),
                "ImagingFrequency_MHz": f"{GAMMA_BAR_HZ_PER_T * sequence.field_t / 1e6:.6f}",
                "Component": "complex" if self._complex else "magnitude",
            },
        )


def _echo_tags(times_s: list[float]) -> dict[str, str]:
    if len(times_s) == 1:
        return {"EchoTime_s": f"{times_s[0]:g}"}
    return {"EchoTimes_s": " ".join(f"{echo_s:g}" for echo_s in times_s)}
