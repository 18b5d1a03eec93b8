"""A picture or a number that a lane finished late is not told as live, however good it was when its frame came."""

import pytest

from devices.messages import Metrics, Overlay
from devices.quality import Quality
from guidance.core import Core
from guidance.events import AnyEvent, Effect, Send
from guidance.load import config_file, load_room
from guidance.settings import IMAGES
from guidance.trial import EPOCH_NS, build_peers
from guidance.units import ms
from guidance.virtual import VirtualRoom

SECONDS, HUNG_S = 6.0, 1.5


class Shown:
    """What a room told: when, of which age in limits of its oldest picture (or pose, where it has none), how live."""

    def __init__(self, procedure: str, lane: str) -> None:
        settings, plan, limits = load_room(config_file("procedures", procedure))
        self.limits_ns = {row.name: ms(row.limit_ms) for row in settings.streams}
        self.images = {row.name for row in settings.streams if row.kind in IMAGES}
        self.rows: list[tuple[int, str, float, Quality]] = []
        simulated = build_peers(procedure, 1, EPOCH_NS)
        room = VirtualRoom(Core(settings, plan, limits), simulated.peers, EPOCH_NS, on_sent=simulated.sends.note)
        room.watchers.append(self._see)
        room.run_until(EPOCH_NS + ms(1e3 * SECONDS))
        self.hung_ns = room.now_ns
        room.hang(lane, room.now_ns + ms(1e3 * HUNG_S))
        room.run_until(EPOCH_NS + ms(1e3 * (SECONDS + HUNG_S + 3.0)))

    def _see(self, event: AnyEvent, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, (Overlay, Metrics)):
                told = effect.message
                known = self.limits_ns.keys() & told.evidence.keys()
                ages = [(event.now_ns - told.evidence[s]) / self.limits_ns[s] for s in known & self.images or known]
                if ages:
                    self.rows.append((event.now_ns, told.name, max(ages), told.quality))


@pytest.mark.parametrize(
    ("procedure", "lane", "late"),
    [
        ("hifu_liver", "show", {"overlay-frame"}),
        ("hifu_liver", "guard", {"thermometry-MR", "overlay-axial"}),
        ("mrlinac_gating", "guard", {"motion-Cine"}),
        ("mrlinac_gating", "show", {"overlay-frame"}),
        ("fusion_biopsy_prostate", "show", {"overlay-axial"}),
    ],
)
def test_what_a_hanging_lane_brings_late_is_not_live(procedure: str, lane: str, late: set[str]) -> None:
    shown = Shown(procedure, lane)
    old = [row for row in shown.rows if row[2] > 1.0]
    assert {name for _, name, _, _ in old} >= late, {name for _, name, _, _ in shown.rows}
    assert not [row for row in old if row[3] is Quality.OK]
    again = {row[1] for row in shown.rows if row[0] > shown.hung_ns + ms(1e3 * (HUNG_S + 1.0)) and row[3] is Quality.OK}
    before = {row[1] for row in shown.rows if row[0] < shown.hung_ns and row[3] is Quality.OK}
    assert again >= before & late, "what comes in time afterwards is live again"
