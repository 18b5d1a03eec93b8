"""Faults of tracking, thermometry, the energy device and the wire; how strong is drawn from the case's seed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from devices.messages import Acknowledgement, AnyMessage, Image, Pose
from guidance.faults.row import (
    CLOCK_STEP,
    OPERATOR_STOP,
    SECOND,
    FaultRow,
    Make,
    Stage,
    down,
    drawn,
    invalid,
    lasting,
    nothing,
    stuck,
)
from guidance.faults.spoiler import Active, Moment, Mutation, Spoiled, replaced
from guidance.faults.wire import SPOILS, Wire

HOUR = 3600 * SECOND


def _older(message: AnyMessage, moment: Moment, back: int = 1) -> AnyMessage:
    return moment.history[-back] if len(moment.history) >= back else message


def _pose(change: Callable[[NDArray[np.float64], Moment], NDArray[np.float64]]) -> Mutation:
    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        if not isinstance(message, Pose):
            return [(0, message)]
        return [(0, replaced(message, fixed_from_moving=change(message.fixed_from_moving.copy(), moment)))]

    return mutate


def _jump(matrix: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    matrix[:3, 3] += (50.0, 0.0, 0.0) if moment.count % 2 else (0.0, 0.0, 0.0)
    return matrix


def _shear(matrix: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    matrix[0, 1] += 0.05
    return matrix


def _mirror(matrix: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    matrix[:3, 0] *= -1
    return matrix


def _zero(matrix: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    return np.zeros_like(matrix)


def _not_finite(matrix: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    matrix[int(moment.rng.integers(3)), int(moment.rng.integers(4))] = moment.rng.choice([np.nan, np.inf, -np.inf])
    return matrix


def _far(matrix: NDArray[np.float64], moment: Moment) -> NDArray[np.float64]:
    matrix[:3, 3] = 1e7
    return matrix


def _lossy(message: AnyMessage, moment: Moment) -> Spoiled:
    return [] if moment.rng.random() < 0.1 else [(0, message)]


def _bursts(message: AnyMessage, moment: Moment) -> Spoiled:
    return [] if moment.count % 60 < 30 else [(0, message)]


def _shuffled(message: AnyMessage, moment: Moment) -> Spoiled:
    return [(int(moment.rng.integers(0, 40_000_000)), message)]


def _twice(message: AnyMessage, moment: Moment) -> Spoiled:
    return [(0, message), (0, message)]


def _stamped(offset_ns: int | None) -> Mutation:
    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        stamp = 0 if offset_ns is None else message.device_time_ns + offset_ns
        return [(0, replaced(message, device_time_ns=stamp))]

    return mutate


def _pause(low: float, high: float) -> Make:
    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        periods = rng.uniform(low, high)
        return Active("pause", start_ns, start_ns + round(periods * stage.period_ns), nothing)

    return make


def _late(factor: float) -> Make:
    """Each frame comes so much later than its period that the gap is `factor` periods, once."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        delay = round((factor - 1.0) * stage.period_ns)

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            return [(delay if moment.count == 0 else 0, message)]

        return Active("late", start_ns, start_ns + 2 * SECOND, mutate)

    return make


def _same_again(message: AnyMessage, moment: Moment) -> Spoiled:
    return [(0, _older(message, moment, moment.count + 1))]


def _out_of_order(message: AnyMessage, moment: Moment) -> Spoiled:
    """Frames that are told in reverse: two older ones after each new one."""
    return [(0, message), *((0, _older(message, moment, n)) for n in (1, 2))]


def _warm(shape: str) -> Make:
    """Heat that is not there: phase added in the guard (`one` voxel, all of it) or everywhere, in degC."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        degrees = {"one": rng.uniform(7.5, 20.0), "guard": rng.uniform(7.0, 25.0), "ramp": rng.uniform(2.0, 18.0)}.get(
            shape, rng.uniform(3.0, 6.0)
        )
        mask = stage.guard_mask.copy()
        if shape == "one":
            chosen = rng.permutation(np.flatnonzero(mask))[0]
            mask[:] = False
            mask.flat[chosen] = True
        elif shape == "everywhere":
            mask[:] = True

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Image) or message.pixels.shape != mask.shape:  # another fault changed its size
                return [(0, message)]
            passed_s = (moment.now_ns - moment.since_ns) / SECOND
            rise = degrees * passed_s if shape == "ramp" else degrees
            turn = np.exp(1j * stage.rad_per_c() * rise * mask).astype(np.complex64)
            pixels = (message.pixels * turn).astype(message.pixels.dtype)
            pixels.flags.writeable = False
            return [(0, replaced(message, pixels=pixels))]

        return Active(f"warm-{shape}", start_ns, start_ns + 4 * SECOND, mutate)

    return make


def _dark(whole: bool) -> Make:
    """No signal in the whole picture, or in the guard's slices."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        slices = np.flatnonzero(stage.guard_mask.any(axis=(1, 2)))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Image):
                return [(0, message)]
            pixels = message.pixels.copy()
            pixels[... if whole else slices] = 0
            pixels.flags.writeable = False
            return [(0, replaced(message, pixels=pixels))]

        return Active("dark", start_ns, start_ns + 2 * SECOND, mutate)

    return make


def _dark_part(message: AnyMessage, moment: Moment) -> Spoiled:
    """No signal in a third of the picture."""
    if not isinstance(message, Image):
        return [(0, message)]
    pixels = message.pixels.copy()
    pixels[:, :, : pixels.shape[2] // 3] = 0
    pixels.flags.writeable = False
    return [(0, replaced(message, pixels=pixels))]


def _noisy(message: AnyMessage, moment: Moment) -> Spoiled:
    """Phase noise in half of the picture: no temperature can be read there."""
    if not isinstance(message, Image):
        return [(0, message)]
    half = moment.rng.random(message.pixels.shape) < 0.5
    turn = np.exp(2j * np.pi * moment.rng.random(message.pixels.shape))
    pixels = np.where(half, message.pixels * turn, message.pixels).astype(message.pixels.dtype)
    pixels.flags.writeable = False
    return [(0, replaced(message, pixels=pixels))]


def _moved(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
    """The patient lies so many pixels aside of where every reference showed him."""
    by = int(rng.integers(5, 9)) * int(rng.choice([-1, 1]))
    axis = int(rng.choice([-2, -1]))

    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        if not isinstance(message, Image):
            return [(0, message)]
        return [(0, replaced(message, pixels=np.ascontiguousarray(np.roll(message.pixels, by, axis))))]

    return Active("moved", start_ns, start_ns + 2 * SECOND, mutate)


def _elsewhere(message: AnyMessage, moment: Moment) -> Spoiled:
    """A picture of another place under the old header: rows and columns exchanged."""
    if not isinstance(message, Image):
        return [(0, message)]
    return [(0, replaced(message, pixels=np.ascontiguousarray(np.swapaxes(message.pixels, 1, 2))))]


def _reshaped(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    return [(0, replaced(message, pixels=np.ascontiguousarray(message.pixels[:, ::2, ::2])))]


def _nan_pixels(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    pixels = message.pixels.copy()
    pixels[moment.rng.random(pixels.shape) < 0.3] = np.nan
    return [(0, replaced(message, pixels=pixels))]


def _unanswered(change: Callable[[Acknowledgement], Spoiled]) -> Make:
    """STOP is answered wrongly, and the operator presses STOP while it lasts."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            return change(message) if isinstance(message, Acknowledgement) else [(0, message)]

        return Active(OPERATOR_STOP, start_ns, start_ns + 2 * SECOND, mutate)

    return make


def _step(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
    step_ms = float(rng.choice([-1.0, 1.0]) * 10 ** rng.uniform(1.4, 6.5))
    return Active(CLOCK_STEP, start_ns, start_ns + round(abs(step_ms)), wire=None, message=f"{step_ms}")


def _wire(kind: str, message: str = "") -> Make:
    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        share = 1.0 if kind == "split" else float(rng.choice([0.02, 0.2, 1.0]))
        return Active(f"wire-{kind}", start_ns, start_ns + 2 * SECOND, wire=Wire(kind, share), message=message)

    return make


def _other_patient(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    return [(0, replaced(message, tags={**message.tags, "PatientID": "SIM-9999"}))]


def _other_tag(tag: str) -> Callable[[np.random.Generator], Mutation]:
    """The scanner says another echo time or frequency than the room was set for; its pictures look as before."""

    def mutation(rng: np.random.Generator) -> Mutation:
        by = float(rng.choice([0.5, 0.95, 1.01, 1.3]))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Image) or tag not in message.tags:
                return [(0, message)]
            return [(0, replaced(message, tags={**message.tags, tag: f"{by * float(message.tags[tag]):g}"}))]

        return mutate

    return mutation


def _only_first(message: AnyMessage, moment: Moment) -> Spoiled:
    return [(0, message)] if moment.count == 0 else []


TRACKING: dict[str, Mutation] = {
    "jump 50 mm": _pose(_jump),
    "sheared": _pose(_shear),
    "mirrored": _pose(_mirror),
    "zero": _pose(_zero),
    "not finite": _pose(_not_finite),
    "far": _pose(_far),
    "invalid": invalid,
    "silent": nothing,
    "10 % loss": _lossy,
    "bursts of 30 lost": _bursts,
    "reordered": _shuffled,
    "duplicated": _twice,
    "stamp 0": _stamped(None),
    "stamp an hour back": _stamped(-HOUR),
    "stamp far in the future": _stamped(1000 * HOUR),
}
PICTURES: dict[str, Make] = {
    "pause of 1.4 periods": _late(1.4),
    "pause of 1.6 periods and more": _pause(1.6, 3.0),
    "pause of 3 periods and more": _pause(3.5, 8.0),
    "repeated frame": lasting("repeat", mutate=_same_again),
    "frozen picture": stuck(Image, "pixels"),
    "out of order": lasting("order", mutate=_out_of_order),
    "one guard voxel hot": _warm("one"),
    "guard hot": _warm("guard"),
    "guard warms": _warm("ramp"),
    "drift step": _warm("everywhere"),
    "no signal": _dark(True),
    "no signal in the guard's slices": _dark(False),
    "no signal in a third of the picture": lasting("dark third", mutate=_dark_part),
    "phase noise": lasting("noise", mutate=_noisy),
    "patient moved": _moved,
    "picture of another place": lasting("elsewhere", mutate=_elsewhere),
    "other size": lasting("size", mutate=_reshaped),
    "pixels not finite": lasting("nan", mutate=_nan_pixels),
    "stamps of an hour ago": lasting("stamp", mutate=_stamped(-HOUR)),
    "duplicated frame": lasting("twice", mutate=_twice),
}
DEVICE: dict[str, Make] = {
    "link down for less than its limit": down(0.02, 0.2),
    "link down": down(0.3, 1.5),
    "STOP unanswered": _unanswered(lambda answer: []),
    "STOP answered late": _unanswered(lambda answer: [(400_000_000, answer)]),
    "STOP refused": _unanswered(lambda answer: [(0, replaced(answer, done=False))]),
    "STOP of another answered": _unanswered(lambda answer: [(0, replaced(answer, command_id=answer.command_id + 7))]),
}
THERMAL: dict[str, Make] = {
    "images of another patient": lasting("tags", mutate=_other_patient),
    "another echo time": drawn(_other_tag("EchoTime_s"), "echo time"),
    "another field": drawn(_other_tag("ImagingFrequency_MHz"), "field"),
    "last picture is never computed": lasting("hang", 1.2, mutate=_only_first, hangs="guard"),
}
CAMPAIGN_FAULTS: tuple[FaultRow, ...] = (
    *(FaultRow(name, "tracker", lasting(name, mutate=mutate)) for name, mutate in TRACKING.items()),
    FaultRow("hidden tool repeats its pose", "tracker", stuck(Pose, "fixed_from_moving")),
    *(FaultRow(name, "mr", make) for name, make in PICTURES.items()),
    *(FaultRow(name, "therapy", make) for name, make in DEVICE.items()),
    FaultRow("clock step", "", _step),
    *(FaultRow(f"{kind} on the tracker's wire", "tracker", _wire(kind)) for kind in SPOILS),
    *(FaultRow(f"{kind} on the scanner's wire", "mr", _wire(kind)) for kind in SPOILS),
    *(FaultRow(f"{kind} on the device's wire", "therapy", _wire(kind)) for kind in SPOILS),
)
