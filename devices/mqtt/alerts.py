"""The alert feed: topics and payloads.

    guidance/<room>/alerts/<alert id>   current state of one alarm, retained, QoS 1
    guidance/<room>/alerts/log/<slot>   every change in turn, QoS 1; the newest `ring` changes stay retained
                                        in slots sequence % ring
    guidance/<room>/state               live | stopped | source lost (the last will), retained, QoS 1
    guidance/<room>/ask                 a reader asks for the changes that it missed

Room and alert id are percent-encoded. Payloads are JSON in UTF-8. An alert is {"version": 1, "log",
"alert": {...fields of devices.messages.Alert}}; the state is {"version": 1, "log", "state"}.

`log` names the numbering: (log, sequence) is unique, rises by one with every change, and a message
that is sent twice carries the same pair. A reader keeps the pairs that it has seen; another `log`
means that the numbering starts anew. A reader that must miss nothing, however long it or the broker
was away, publishes {"version": 1, "log", "after": last sequence without a gap} to `ask` whenever
the state says live, and whenever a number stays missing (a broker drops what waits too long for a slow
reader), and hears everything after it once more on `alerts/log/+`, as far back as the outbox keeps it.
"""

from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from devices.errors import RemoteProtocolError
from devices.messages import Alert, Status

VERSION = 1
LIVE, STOPPED, LOST = "live", "stopped", "source lost"
STATUS_CODE = {LIVE: 1, STOPPED: 13, LOST: 13}  # OpenIGTLink: OK, not ready
MAX_PAYLOAD_BYTES = 64 * 1024


class AlertNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the payload of an alert."""

    version: int
    log: str
    alert: Alert


class StateNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the payload of the state."""

    version: int
    log: str
    state: str


class AskNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the payload of a reader's question."""

    version: int
    log: str
    after: int


Note = TypeVar("Note", AlertNote, StateNote, AskNote)

_alerts = msgspec.json.Decoder(AlertNote)
_states = msgspec.json.Decoder(StateNote)
_asks = msgspec.json.Decoder(AskNote)


def room_topic(room: str) -> str:
    """What every topic of a room begins with."""
    return f"guidance/{quote(room, safe='')}"


def state_topic(room: str) -> str:
    """Where the state of a room's service stands."""
    return f"{room_topic(room)}/state"


def ask_topic(room: str) -> str:
    """Where readers ask for what they missed."""
    return f"{room_topic(room)}/ask"


def current_topic(room: str, name: str) -> str:
    """Where the current state of the alarm `name` stands."""
    return f"{room_topic(room)}/alerts/{quote(name, safe='')}"


def log_topic(room: str, sequence: int, ring: int) -> str:
    """Where the change `sequence` is told."""
    return f"{room_topic(room)}/alerts/log/{sequence % ring}"


def name_of(topic: str) -> str:
    """The alarm's name in a current-state topic."""
    return unquote(topic.rpartition("/")[2])


def encode_alert(alert: Alert, log: str) -> bytes:
    """Payload of an alert."""
    return msgspec.json.encode(AlertNote(VERSION, log, alert))


def encode_state(state: str, log: str) -> bytes:
    """Payload of the state."""
    return msgspec.json.encode(StateNote(VERSION, log, state))


def decode_alert(payload: bytes) -> AlertNote:
    """Inverse of `encode_alert`; RemoteProtocolError on anything else."""
    return _checked(_alerts, payload)


def decode_ask(payload: bytes) -> AskNote:
    """A reader's question; RemoteProtocolError on anything else."""
    return _checked(_asks, payload)


def decode_status(room: str, payload: bytes) -> Status:
    """A room's state as a status (1 = live, 13 = not ready); RemoteProtocolError on anything else."""
    note = _checked(_states, payload)
    if note.state not in STATUS_CODE:
        raise RemoteProtocolError(f"state {note.state[:80]!r} of room {room!r} is not one of {sorted(STATUS_CODE)}")
    return Status(name=room, code=STATUS_CODE[note.state], text=note.state)


def _checked(decoder: msgspec.json.Decoder[Note], payload: bytes) -> Note:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RemoteProtocolError(f"payload of {len(payload)} bytes is above the limit of {MAX_PAYLOAD_BYTES}")
    try:
        note = decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise RemoteProtocolError(f"not a payload of the alert feed: {fault}") from fault
    if note.version != VERSION:
        raise RemoteProtocolError(f"alert feed version {note.version}; this side speaks {VERSION}")
    return note
