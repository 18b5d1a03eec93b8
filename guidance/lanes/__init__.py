"""What the lanes do with a job. Pure state objects, one thread each; the rim only runs them."""

from collections.abc import Callable
from typing import Any

import cv2

from devices.errors import DeviceError
from guidance.errors import GuidanceError
from guidance.events import Job, JobDone
from guidance.lanes.guard import GuardWork, Result
from guidance.lanes.show import ShowWork
from guidance.plan import Plan
from guidance.settings import RoomSettings

LANES = ("guard", "show")
REPLACED = "replaced by a newer one"


class Workbench:
    """The work of every lane by kind of job. `run` may be called by one thread a lane."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        cv2.setNumThreads(1)
        guard = GuardWork(settings, plan)
        show = ShowWork(settings, plan)
        self._kinds: dict[str, Callable[..., Result]] = {
            "thermometry": guard.thermometry,
            "frame": show.frame,
            "planes": show.planes,
        }

    def run(self, job: Job, started_ns: int) -> JobDone:
        """Do one job. Bad input becomes a failed result that names it; nothing else stops."""
        facts: dict[str, Any] = {}
        arrays: dict[str, Any] = {}
        failed = ""
        try:
            facts, arrays = self._kinds[job.kind](**job.inputs)
        except (ValueError, ArithmeticError, GuidanceError, DeviceError) as fault:
            failed = f"{type(fault).__name__}: {fault}"
        return JobDone(
            now_ns=started_ns,
            job=job.number,
            lane=job.lane,
            kind=job.kind,
            facts=facts,
            arrays=arrays,
            started_ns=started_ns,
            failed=failed,
        )


def replaced(job: Job, now_ns: int) -> JobDone:
    """The result of a job that never ran: a newer one of its slot came."""
    return JobDone(now_ns=now_ns, job=job.number, lane=job.lane, kind=job.kind, facts={}, failed=REPLACED)
