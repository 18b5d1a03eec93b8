"""What every guided calibration says: its numbers as Metrics, and a sealed result file or why it was refused.

A result goes out as Text of a file (`guidance.space.results`); the rim that is live writes it to disk.
"""

from typing import Any

import numpy as np

from devices.messages import Metrics, Text
from guidance.core.scene import Scene
from guidance.events import Effect
from guidance.exact import Matrix
from guidance.space.results import CalibrationResult, write_result


class ResultTeller:
    """Says what a calibration found, over the room's routes."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def result(
        self, found: CalibrationResult, values: dict[str, float], faults: list[str], now_ns: int
    ) -> list[Effect]:
        """The numbers, and the file or, where there are `faults`, why it is not used."""
        name = f"{found.kind}-{found.moving}-{found.fixed}"
        effects = self.numbers(name, {**values, "used": float(not faults)}, now_ns)
        if faults:
            return [*effects, *self.words(f"{name} refused: " + "; ".join(faults), now_ns)]
        text = Text(name=f"result-{name}", device_time_ns=now_ns, text=write_result(found).decode())
        return [*effects, *self._scene.routes.to("metrics", text)]

    def words(self, text: str, now_ns: int) -> list[Effect]:
        """A sentence for the people at the consoles."""
        return list(self._scene.routes.to("metrics", Text(name="calibration", device_time_ns=now_ns, text=text)))

    def numbers(self, name: str, values: dict[str, float], now_ns: int) -> list[Effect]:
        """Metrics with the poses that they were made from."""
        tracks = self._scene.tracking.tracks.values()
        told = {track.stream.name: track.usable_ns for track in tracks if track.usable_ns} or {"plan": now_ns}
        message = Metrics(name=name, device_time_ns=now_ns, values=values, evidence=told)
        return list(self._scene.routes.to("metrics", message))


def matrix_of(values: dict[str, float]) -> Matrix:
    """The matrix (4, 4) that a lane told as m00 .. m23."""
    matrix = np.eye(4)
    matrix[:3] = [[values[f"m{i}{j}"] for j in range(4)] for i in range(3)]
    return matrix


def rows_of(matrix: Matrix) -> Any:
    """The rows of a result file."""
    return tuple(tuple(float(value) for value in row) for row in matrix)
