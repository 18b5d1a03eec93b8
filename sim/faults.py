"""Faults as rows: a wrapper that spoils what a peer says, reproducibly from a seed.

Each kind is a small function in `KINDS`; the wrapped peer does not know. A row applies from
`start_s` for `duration_s` to messages whose name begins with `message`, with `share` of them hit.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from devices.messages import AnyMessage, Image, Pose, Reading
from devices.peer import NEVER_NS, Peer


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of `[[faults]]`; `amount`: ms for delay and stamp, mm for jump and shift, value or factor for corrupt."""

    link: str
    kind: str
    start_s: float = 0.0
    duration_s: float = 1e9
    message: str = ""
    share: float = 1.0
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS and self.kind != "stop":
            raise ValueError(f"fault kind {self.kind!r} is not one of {sorted([*KINDS, 'stop'])}")


Spoiled = list[tuple[int, AnyMessage]]  # (extra delay in ns, message)


def _drop(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    return []


def _delay(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    return [(round(fault.amount * 1e6), message)]


def _freeze(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """The old content under a new time and number: a device that hangs on its last value."""
    if last is None or type(last) is not type(message):
        return [(0, message)]
    fresh = {"device_time_ns": message.device_time_ns}
    if isinstance(message, Pose | Image):
        fresh["number"] = message.number
    return [(0, msgspec.structs.replace(last, **fresh))]


def _repeat(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """The old message again, times and all, instead of the new one."""
    return [(0, last if last is not None else message)]


def _duplicate(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    return [(0, message), (0, message)]


def _jump(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """A pose `amount` mm away in a random direction."""
    if not isinstance(message, Pose):
        return [(0, message)]
    direction = rng.standard_normal(3)
    moved = message.fixed_from_moving.copy()
    moved[:3, 3] += fault.amount * direction / np.linalg.norm(direction)
    return [(0, msgspec.structs.replace(message, fixed_from_moving=moved))]


def _shift(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """A pose that is always `amount` mm aside: a body was pushed, or metal distorts the field at it."""
    if not isinstance(message, Pose):
        return [(0, message)]
    moved = message.fixed_from_moving.copy()
    moved[0, 3] += fault.amount
    return [(0, msgspec.structs.replace(message, fixed_from_moving=moved))]


def _shear(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """A matrix that is no rigid pose."""
    if not isinstance(message, Pose):
        return [(0, message)]
    sheared = message.fixed_from_moving.copy()
    sheared[0, 1] += max(fault.amount, 0.01)
    return [(0, msgspec.structs.replace(message, fixed_from_moving=sheared))]


def _corrupt(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """Images of nothing but `amount`; readings scaled by `amount`."""
    if isinstance(message, Image):
        return [(0, msgspec.structs.replace(message, pixels=np.full_like(message.pixels, fault.amount)))]
    if isinstance(message, Reading):
        values = {key: value * fault.amount for key, value in message.values.items()}
        return [(0, msgspec.structs.replace(message, values=values))]
    return [(0, message)]


def _stamp(fault: Fault, message: AnyMessage, last: AnyMessage | None, rng: np.random.Generator) -> Spoiled:
    """A device time that is `amount` ms off (-3600000 = one hour back)."""
    stamped = message.device_time_ns + round(fault.amount * 1e6)
    return [(0, msgspec.structs.replace(message, device_time_ns=max(stamped, 0)))]


KINDS: dict[str, Callable[[Fault, AnyMessage, AnyMessage | None, np.random.Generator], Spoiled]] = {
    "drop": _drop,
    "delay": _delay,
    "freeze": _freeze,
    "repeat": _repeat,
    "duplicate": _duplicate,
    "jump": _jump,
    "shift": _shift,
    "shear": _shear,
    "corrupt": _corrupt,
    "stamp": _stamp,
}


class Faulty:
    """A peer seen through its faults. Kind `stop` is the wrapper's own: the peer neither speaks nor hears."""

    def __init__(self, peer: Peer, faults: list[Fault], rng: np.random.Generator, start_ns: int) -> None:
        self.name = peer.name
        self.peer = peer
        self.heavy = getattr(peer, "heavy", False)
        self.injected = 0
        self._faults, self._rng, self._start_ns = faults, rng, start_ns
        self._last: dict[str, AnyMessage] = {}
        self._waiting: list[tuple[int, AnyMessage]] = []

    def __getattr__(self, name: str) -> Any:
        if name == "peer":
            raise AttributeError(name)
        return getattr(self.peer, name)

    def next_due_ns(self) -> int:
        """The peer's next message or the next delayed one."""
        return min(self.peer.next_due_ns(), min((due for due, _ in self._waiting), default=NEVER_NS))

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """What the peer says, spoiled."""
        for message in self.peer.advance(now_ns):
            self._waiting += [(now_ns + extra, spoiled) for extra, spoiled in self._spoil(message, now_ns)]
        due = sorted((row for row in self._waiting if row[0] <= now_ns), key=lambda row: row[0])
        self._waiting = [row for row in self._waiting if row[0] > now_ns]
        return [message for _, message in due]

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Passed on, unless the peer is stopped."""
        if not any(fault.kind == "stop" for fault in self._active("", now_ns)):
            self.peer.accept(message, now_ns)

    def _active(self, message_name: str, now_ns: int) -> list[Fault]:
        t_s = (now_ns - self._start_ns) / 1e9
        return [
            fault
            for fault in self._faults
            if fault.start_s <= t_s < fault.start_s + fault.duration_s
            and (not message_name or message_name.startswith(fault.message))
        ]

    def _spoil(self, message: AnyMessage, now_ns: int) -> Spoiled:
        said: Spoiled = [(0, message)]
        last = self._last.get(message.name)
        hit = False
        for fault in self._active(message.name, now_ns):
            if fault.share < 1 and self._rng.random() >= fault.share:
                continue
            self.injected += 1
            hit = True
            if fault.kind == "stop":
                return []
            kind = KINDS[fault.kind]
            said = [(extra + more, out) for extra, inner in said for more, out in kind(fault, inner, last, self._rng)]
        if not hit:
            self._last[message.name] = message
        return said
