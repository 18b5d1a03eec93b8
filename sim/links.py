"""The devices' side of the room's links: a row of a scenario becomes a link of `devices`."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from devices.clock import Clock
from devices.messages import AnyMessage
from sim.errors import ScenarioError
from sim.scenario import LinkRow

OnMessage = Callable[[AnyMessage], None]
OnChange = Callable[[bool, str, str], None]
OnLoss = Callable[[str, int, str], None]


class Link(Protocol):
    """What the runner needs of a link."""

    @property
    def address(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def send(self, message: AnyMessage, urgent: bool = False) -> None: ...
