"""Tasks end, whatever they do with a cancellation."""

import asyncio
import contextlib

from devices.tasks import end_tasks


async def deaf(times: int) -> int:
    """Goes on after being cancelled so many times, as a task does whose library lost the cancellation."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()
    return times


async def test_a_task_that_lost_cancellations_is_asked_until_it_ends():
    tasks = [asyncio.create_task(deaf(times)) for times in (0, 1, 3)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end_tasks(tasks, again_s=0.01)
    assert all(task.cancelled() for task in tasks)


async def test_what_has_ended_is_left_alone():
    ended = asyncio.create_task(asyncio.sleep(0, "done"))
    await ended
    await end_tasks([ended])
    assert ended.result() == "done"
    await end_tasks([])
