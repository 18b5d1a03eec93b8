"""Every kind of fault of campaign A by the room and the link that it acts on, and which of them share a room."""

from guidance.faults import move_table as move
from guidance.faults import told_table as told
from guidance.faults.rooms import SET_UP
from guidance.faults.row import FaultRow, Make, lasting, nothing
from guidance.faults.table import CAMPAIGN_FAULTS, THERMAL

LONG_S = 14.0  # for what is told after ten seconds


def _rows(room: str, link: str, makes: dict[str, Make], seconds: float = 4.0) -> tuple[FaultRow, ...]:
    return tuple(FaultRow(name, link, make, room, seconds) for name, make in makes.items())


_ROOM_FAULTS: tuple[FaultRow, ...] = (
    *_rows("thermal", "therapy", told.REPORTS),
    *_rows("thermal", "mr", THERMAL),
    *_rows("robot", "robot", move.ROBOT),
    *_rows("robot", "xray", told.XRAY),
    *_rows("robot", "xray", {"dose no longer told": lasting("silent", 13.0, mutate=nothing)}, LONG_S),
    *_rows("robot", "", told.SERVICE),
    *_rows("robot", "", told.PEOPLE),
    *_rows("robot", "", {"nobody looks": told.tells("supervisor", supervisor_stops=(1.0, 1.0))}, LONG_S),
    *_rows("motion", "mr", move.MOTION),
    *_rows("motion", "mr", move.FAR_AWAY, LONG_S),
    *_rows("motion", "camera", move.CHEST),
    *_rows("needles", "tracker", move.NEEDLES),
    *_rows("needles", "therapy", told.PULSES),
    *_rows("brain", "tracker", move.BRAIN),
    *_rows("picture", "ultrasound", move.DEPTH),
    *_rows("seeds", "tracker", move.BENDING),
    *_rows("cryo", "", told.CRYO, LONG_S),
    *_rows("laser", "", told.LASER, 10.0),
    *_rows("drug", "", told.DRUG, 30.0),
    *(FaultRow(name, "", lasting("set-up"), name) for name in SET_UP),
)
FAULTS: tuple[FaultRow, ...] = (*CAMPAIGN_FAULTS, *_ROOM_FAULTS)
OF_ROOM: dict[str, list[int]] = {}
for _index, _row in enumerate(FAULTS):
    OF_ROOM.setdefault(_row.room, []).append(_index)
INDEX = {row.name: number for number, row in enumerate(FAULTS)}
