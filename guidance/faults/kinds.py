"""Every kind of fault of campaign A, and which of them share a room."""

from guidance.faults.room_table import ROOM_FAULTS
from guidance.faults.table import CAMPAIGN_FAULTS, FaultRow

FAULTS: tuple[FaultRow, ...] = (*CAMPAIGN_FAULTS, *ROOM_FAULTS)
OF_ROOM: dict[str, list[int]] = {}
for _index, _row in enumerate(FAULTS):
    OF_ROOM.setdefault(_row.room, []).append(_index)
INDEX = {row.name: number for number, row in enumerate(FAULTS)}
