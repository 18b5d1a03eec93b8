"""Ending asyncio tasks for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 1.0


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"], again_s: float = AGAIN_S) -> None:
    """Cancel `tasks` and return when every one has ended; whether one failed is the caller's to ask.

    Libraries that wait with `asyncio.wait_for` lose a cancellation which meets the result that they wait for (before
    Python 3.12); their task then goes on as if nothing had been asked, so it is asked again every `again_s`.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
