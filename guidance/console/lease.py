"""The lease: a page proves twice a second that it is showing the alarms that it was sent."""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any

from guidance.console.roles import Console

NONCES = 4  # echoes of these last nonces count: two seconds of them


def digest(alarm_ids: Iterable[str]) -> str:
    """What both sides say of the alarms shown: SHA-256 of their ids and states, joined by commas, 16 characters."""
    return hashlib.sha256(",".join(alarm_ids).encode()).hexdigest()[:16]


class Lease:
    """One page's lease."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._nonces: list[str] = []
        self._digests: list[str] = []

    def ask(self, shown: str) -> str:
        """A new nonce; `shown` is the digest of the alarms as they were last sent to the page."""
        self._nonces = [*self._nonces, secrets.token_hex(8)][-NONCES:]
        self._digests = [*self._digests, shown][-NONCES:]
        return self._nonces[-1]

    def answer(self, echo: dict[str, Any]) -> bool:
        """Judge an echo: True only for what the page proves of itself. A nonce counts once."""
        self._console.refused = self._fault(echo)
        return not self._console.refused

    def _fault(self, echo: dict[str, Any]) -> str:
        if echo.get("nonce") not in self._nonces:
            return "the nonce is not one of the last two seconds"
        place = self._nonces.index(str(echo["nonce"]))
        expected = set(self._digests[place:])
        self._nonces, self._digests = self._nonces[place + 1 :], self._digests[place + 1 :]
        if echo.get("digest") not in expected:
            return "it shows other alarms than it was sent"
        frames = echo.get("frames")
        checks = (
            (echo.get("visible") is True, "the page is hidden"),
            (echo.get("topmost") is True, "the alarm row is covered"),
            (isinstance(frames, int) and frames > 0, "nothing was drawn since the last echo"),
            (echo.get("audio") is True, "its sound is off: touch the page"),
            (echo.get("tone") is not False, "a due tone was not heard by the page itself"),
        )
        return next((text for good, text in checks if not good), "")
