"""What the lanes do with a job. Pure state objects, one thread each; the rim only runs them."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from devices.errors import DeviceError
from devices.messages import Image
from guidance.errors import GuidanceError
from guidance.events import Job, JobDone
from guidance.lanes import verify
from guidance.lanes.calibrations import CalibrationWork
from guidance.lanes.cine import CineShow
from guidance.lanes.cryo import CryoWork, warm_cryo
from guidance.lanes.damage import DamageWork
from guidance.lanes.forecast import forecast_worker
from guidance.lanes.geometry import GeometryWork
from guidance.lanes.guard import GuardWork, Result
from guidance.lanes.heating import HeatingWork
from guidance.lanes.motion import MotionWork, warm_motion
from guidance.lanes.power import PowerPlanner
from guidance.lanes.respiration import RespirationWork
from guidance.lanes.show import ShowWork
from guidance.motion import single_threaded
from guidance.plan import Plan
from guidance.settings import RoomSettings
from guidance.thermometry.hot import joined_level_c

LANES = ("guard", "show", "study")
REPLACED = "replaced by a newer one"


class Workbench:
    """The work of every lane by kind of job. `run` may be called by one thread a lane."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        single_threaded()
        guard = GuardWork(settings, plan)
        show = ShowWork(settings, plan)
        calibrations = CalibrationWork(settings, plan)
        row = settings.thermometry
        t0_c = 37.0 if row is None or row.t0_c is None else row.t0_c
        most_w = settings.therapy.power_w if settings.therapy else 0.0
        guard_limits_c = {guard.structure: guard.limit_c for guard in settings.guards if guard.limit_c is not None}
        self._kinds: dict[str, Callable[..., Result]] = {
            "thermometry": guard.thermometry,
            "re_zero": guard.re_zero,
            "place": guard.place,
            "heating": HeatingWork(settings.heating, plan, t0_c, row.t0_sigma_c if row else 0.0).heating,
            "power": PowerPlanner(settings.heating, most_w, t0_c, plan, guard_limits_c).plan,
            "forecast": forecast_worker(settings.heating, t0_c),
            "cine": MotionWork(settings, plan).cine,
            "frame": show.frame,
            "respiration": RespirationWork().respiration,
            "damage": DamageWork(settings, plan).damage,
            "iceball": CryoWork(settings, plan).iceball,
            "cine_frame": CineShow(settings, plan).frame,
            "planes": show.planes,
            "geometry": GeometryWork(plan).geometry,
            "verify": verify.verify,
            "dose": verify.dose,
            "register": verify.register,
            "pivot": verify.pivot,
            "line": verify.line,
            "lag": verify.lag,
            "wires": calibrations.wires,
            "nwire": calibrations.nwire,
            "hand_eye": calibrations.hand_eye,
            "surface": calibrations.surface,
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


def warm_up(settings: RoomSettings, plan: Plan | None, lanes: Collection[str] = LANES) -> None:
    """Compile and load every kernel that these lanes of the room will need, on a bench that is thrown away."""
    bench = Workbench(settings, plan)
    if "guard" in lanes:
        warm_motion(settings, plan)
        if settings.cryo:
            warm_cryo()
    row = settings.thermometry
    noise = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64]
    tissue = (100 + 50 * np.sin(x / 3.0) * np.sin(y / 4.0))[..., None] * (1.0, 0.3)  # something that can be followed
    joined_level_c(np.zeros((3, 4, 4), np.float32), np.ones((3, 4, 4), bool))
    volume: dict[str, Any] = {}
    for number in range(1, (2 * row.reference_dynamics + row.follow_frames if row else 0) + 4):
        slices = 2 * (1 + len(row.more_echo_times_s) if row else 1)
        pixels = tissue + noise.normal(size=(slices, *tissue.shape))
        image = Image(
            name="warm-up", pixels=pixels.astype(np.float32).view(np.complex64)[..., 0], frame="RAS",
            frame_from_image_mm=np.eye(4), device_time_ns=number,
        )  # fmt: skip
        if row is not None and "guard" in lanes:
            inputs = {"image": image, "time_s": 0.2 * number, "energy_s": 0.0}
            volume = bench.run(Job(number, "guard", "", "thermometry", inputs, {}), 0).arrays
        if "show" in lanes:
            _warm_pictures(bench, settings, image, volume)


def _warm_pictures(bench: Workbench, settings: RoomSettings, image: Image, volume: dict[str, Any]) -> None:
    cold = np.full(image.pixels.shape, 37.0, np.float32)
    seen = {"magnitude": cold, "temperature_c": cold, "valid": cold > 0, "ras_from_image": np.eye(4)}
    tools = {tool.name: np.eye(4) for tool in settings.tools}
    tips = {tool.name: (tool.tip_mm, tool.tip_sigma_mm) for tool in settings.tools}
    drawn: dict[str, Any] = {"tools": tools, "tips": tips, "zones": [], "void": ""}
    frame = {"stream": "warm-up", "image": image, "ras_from_image": np.eye(4), **drawn}
    bench.run(Job(0, "show", "", "frame", frame, {}), 0)
    bench.run(Job(0, "show", "", "planes", {**(volume or seen), **drawn, "pointer": ""}, {}), 0)


def failed(job: Job, now_ns: int, why: str) -> JobDone:
    """The result of a job that came to nothing."""
    return JobDone(now_ns=now_ns, job=job.number, lane=job.lane, kind=job.kind, facts={}, failed=why)


def replaced(job: Job, now_ns: int) -> JobDone:
    """The result of a job that never ran: a newer one of its slot came."""
    return failed(job, now_ns, REPLACED)
