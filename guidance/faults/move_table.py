"""Faults of what moves: the robot, needles and references, the organ before the beam, a marker on the chest."""

from collections.abc import Callable

import numpy as np

from devices.messages import Acknowledgement, AnyMessage, Image, Pose
from guidance.faults.row import (
    LASTS,
    OPERATOR_STOP,
    SECOND,
    Make,
    Stage,
    Vector,
    down,
    drawn,
    invalid,
    lasting,
    silent,
    stuck,
)
from guidance.faults.spoiler import Active, Moment, Mutation, Spoiled, replaced
from guidance.faults.told_table import lane_more, reads


def _shift(direction: Callable[[Stage], Vector], low_mm: float, high_mm: float, mm_per_s: float = 0.0) -> Make:
    """Poses of one name lie aside: at once, or drifting away at `mm_per_s`."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        way, most = direction(stage), float(rng.uniform(low_mm, high_mm))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Pose):
                return [(0, message)]
            passed_s = (moment.now_ns - moment.since_ns) / SECOND
            matrix = message.fixed_from_moving.copy()
            matrix[:3, 3] += way * (min(most, mm_per_s * passed_s) if mm_per_s else most)
            return [(0, replaced(message, fixed_from_moving=matrix))]

        return Active("shift", start_ns, start_ns + LASTS, mutate)

    return make


def _named(make: Make, name: str) -> Make:
    """The same for messages of one name."""

    def named(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        fault = make(stage, rng, start_ns)
        fault.message = name
        return fault

    return named


def _along(stage: Stage) -> Vector:
    assert stage.way is not None
    along: Vector = stage.way / np.linalg.norm(stage.way)
    return along


def _aside(stage: Stage) -> Vector:
    across: Vector = np.cross(_along(stage), (0.0, 0.0, 1.0))
    return across / float(np.linalg.norm(across))


def _fixed(x: float, y: float, z: float) -> Callable[[Stage], Vector]:
    return lambda stage: np.array([x, y, z])


def _turned(message: AnyMessage, moment: Moment) -> Spoiled:
    """An electrode that points 14 degrees elsewhere."""
    if not isinstance(message, Pose):
        return [(0, message)]
    c, s = np.cos(np.radians(14.0)), np.sin(np.radians(14.0))
    matrix = message.fixed_from_moving.copy()
    matrix[:3, :3] = matrix[:3, :3] @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return [(0, replaced(message, fixed_from_moving=matrix))]


def _stop_answer(change: Callable[[Acknowledgement], Spoiled]) -> Mutation:
    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        return change(message) if isinstance(message, Acknowledgement) else [(0, message)]

    return mutate


def _rolled(low_px: int, high_px: int, gradual: bool = False) -> Callable[[np.random.Generator], Mutation]:
    """The organ lies some pixels lower, at once or more with every picture."""

    def mutation(rng: np.random.Generator) -> Mutation:
        most = int(rng.integers(low_px, high_px + 1)) * int(rng.choice([-1, 1]))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Image):
                return [(0, message)]
            by = round(most * min(1.0, moment.count / 12)) if gradual else most
            return [(0, replaced(message, pixels=np.ascontiguousarray(np.roll(message.pixels, by, axis=-2))))]

        return mutate

    return mutation


def _noise(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    pixels = moment.rng.permuted(message.pixels.ravel()).reshape(message.pixels.shape)
    return [(0, replaced(message, pixels=pixels))]


def _other_plane(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    return [(0, replaced(message, pixels=np.ascontiguousarray(message.pixels[..., ::-1])))]


def _zoomed(rng: np.random.Generator) -> Mutation:
    """The scanner shows another depth: its pixels are of another size."""
    by = float(rng.choice([0.8, 0.9, 1.1, 1.5]))

    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        if not isinstance(message, Image):
            return [(0, message)]
        matrix = message.frame_from_image_mm.copy()
        matrix[:3, :3] *= by
        return [(0, replaced(message, frame_from_image_mm=matrix))]

    return mutate


ROBOT: dict[str, Make] = {
    "robot's tip jumps aside": _shift(_aside, 3.4, 9.0),
    "robot drifts aside": _shift(_aside, 4.0, 8.0, 12.0),
    "robot rushes aside": _shift(_aside, 2.8, 2.95, 40.0),
    "robot past its target": _shift(_along, 94.0, 130.0, 300.0),
    "robot's pose silent": _named(silent(0.2, 1.5), "RobotToRAS"),
    "robot's pose invalid": lasting("invalid", mutate=invalid),
    "robot silent": silent(0.5, 1.5),
    "robot's link down": down(0.3, 1.5),
    "following error": reads(following_error_mm=(1.3, 9.0)),
    "robot ignores STOP": lasting(OPERATOR_STOP, mutate=_stop_answer(lambda answer: [])),
    "robot refuses STOP": lasting(
        OPERATOR_STOP, mutate=_stop_answer(lambda answer: [(0, replaced(answer, done=False))])
    ),
}
MOTION: dict[str, Make] = {
    "patient shifts": drawn(_rolled(2, 5), "rolled"),
    "organ drifts": drawn(_rolled(2, 4, gradual=True), "drift"),
    "pictures of noise": lasting("noise", 1.5, mutate=_noise),
    "pictures of another plane": lasting("plane", mutate=_other_plane),
    "no cine picture": silent(0.4, 1.5),
    "breath held": stuck(Image, "pixels"),
    "mean place drifts": lane_more("cine", "drift_mm", 3.5),
}
CHEST: dict[str, Make] = {
    "marker falls off the chest": _shift(_fixed(0.3, -0.5, -0.8), 60.0, 300.0),
    "marker slides over the chest": _shift(_fixed(0.0, 0.0, -1.0), 60.0, 200.0, 80.0),
    "marker hidden": lasting("invalid", mutate=invalid),
    "hidden marker repeats its pose": stuck(Pose, "fixed_from_moving"),
}
FAR_AWAY: dict[str, Make] = {
    "shifted for long": drawn(_rolled(4, 6), "rolled", 12.0),
}
NEEDLES: dict[str, Make] = {
    "electrode aside": _named(_shift(_fixed(1.0, 0.0, 0.0), 4.0, 12.0), "Electrode1ToTracker"),
    "electrode drifts to the vein": _named(_shift(_fixed(0.46, 0.89, 0.0), 8.0, 30.0, 10.0), "Electrode2ToTracker"),
    "electrode turned": _named(lasting("turned", mutate=_turned), "Electrode3ToTracker"),
    "electrode too deep": _named(_shift(_fixed(0.0, 0.0, -1.0), 7.0, 12.0), "Electrode2ToTracker"),
    "electrode invalid": _named(lasting("invalid", mutate=invalid), "Electrode1ToTracker"),
}
BRAIN: dict[str, Make] = {
    "reference pushed": _named(_shift(_fixed(0.6, 0.0, 0.8), 1.5, 9.0), "ReferenceToTracker"),
    "second reference pushed": _named(_shift(_fixed(0.0, 1.0, 0.0), 1.5, 9.0), "Reference2ToTracker"),
    "reference hidden": _named(lasting("invalid", mutate=invalid), "ReferenceToTracker"),
}
DEPTH: dict[str, Make] = {
    "depth changed": drawn(_zoomed, "zoom"),
}
BENDING: dict[str, Make] = {
    "needle bends": _named(_shift(_fixed(0.7, 0.7, 0.0), 3.5, 9.0), "NeedleTipToTracker"),
}
