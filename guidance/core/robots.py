"""Robot desk: whether the robot follows its command, and how fast it may go in its corridor."""

from collections.abc import Iterable

import numpy as np

from devices.messages import Command
from devices.quality import Quality
from guidance.core.devices import DeviceDesk
from guidance.core.scene import Desk, Scene
from guidance.events import Effect, Send
from guidance.exact import Vector, apply
from guidance.navigation.fixtures import Fixture, FixtureState, judge_fixture
from guidance.safety.facts import Fact
from guidance.units import ms

AGAIN_NS = ms(500)  # the speed allowed is told at least this often
STEP = 0.05  # and at once where it changes by this share
FIRST_ID = 1_000_000  # of the SPEED commands, apart from those of the treatment
OVER_NS = ms(40)  # a velocity is taken over this long


class RobotDesk(Desk):
    """The room's one robot. HOLD and STOP follow by the rules; SPEED, between inner and outer margin, from here."""

    def __init__(self, scene: Scene, devices: DeviceDesk) -> None:
        self._scene, self._devices, self._row = scene, devices, scene.settings.robot
        row, plan = self._row, scene.plan
        self._way = plan.trajectory(row.trajectory) if row and plan and row.trajectory else None
        self._fixture = Fixture(row.inner_mm, row.outer_mm) if row else Fixture()
        self._reading = next(
            (s.name for s in scene.settings.streams if row and s.link == row.link and s.kind == "reading"), ""
        )
        self._before: tuple[int, Vector] | None = None
        self._told = (-1.0, 0)
        self._sent = 0
        self.state: FixtureState | None = None
        if row is not None and self._reading:
            scene.facts.declare("following_error_mm", row.device)

    def measure(self, now_ns: int) -> None:
        """Following error as the robot tells it; the corridor's state."""
        if self._row is None:
            return
        if self._reading:
            state = self._scene.streams[self._reading]
            error = self._devices.readings.get(self._reading, {}).get("following_error_mm")
            live = error is not None and state.age_ms(now_ns) <= state.settings.limit_ms
            self._scene.facts.set("following_error_mm", self._row.device, Fact(abs(error or 0.0), now_ns, live))
        tip = self._tip(now_ns)
        if tip is None or self._way is None:
            self._before = None
            return
        before = self._before or (now_ns, tip)
        passed_ns = now_ns - before[0]
        velocity = (tip - before[1]) / (passed_ns / 1e9) if passed_ns else np.zeros(3)
        self.state = judge_fixture(self._fixture, self._way, tip, velocity)
        if self._before is None or passed_ns >= OVER_NS:
            self._before = (now_ns, tip)

    def _tip(self, now_ns: int) -> Vector | None:
        tool = self._row.tool if self._row else None
        placed = self._scene.tracking.place(tool, now_ns) if tool else None
        if placed is None or placed.quality is not Quality.OK:
            return None
        tip: Vector = apply(placed.ras_from_tool, np.array([placed.tool.tip_mm], np.float64))[0]
        return tip

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """SPEED: the share of its speed that the robot may use, and the way back to its line in RAS mm."""
        if self._row is None or self.state is None:
            return
        share, told_ns = self._told
        if abs(share - self.state.speed_share) < STEP and now_ns - told_ns < AGAIN_NS:
            return
        self._told = (self.state.speed_share, now_ns)
        self._sent += 1
        r, a, s = self.state.correction_mm.tolist()
        yield Send(
            self._row.link,
            Command(
                name=self._row.device, command_id=FIRST_ID + self._sent, verb="SPEED", device_time_ns=now_ns,
                values={"share": self.state.speed_share, "r_mm": r, "a_mm": a, "s_mm": s}, reason=self.state.reason,
            ),
        )  # fmt: skip
