"""Points placed on the image, and the power that may be asked for: judged again by the core."""

from typing import Any

import numpy as np
import pytest

from devices.messages import Command, Image
from guidance.events import Act, Job, JobDone
from guidance.lanes.guard import GuardWork
from guidance.lanes.places import ball_mask
from guidance.safety.phases import Phase
from guidance.settings import parse_settings

HERE = {"name": "rib", "r_mm": 2.0, "a_mm": 1.0, "s_mm": 0.0}


def act(bench: Any, verb: str, **values: Any) -> Any:
    bench.give(Act(now_ns=bench.now_ns, verb=verb, actor="anna", console="desk", role="operator", values=values))
    return bench.core.last_verdict


def answer(bench: Any, **facts: Any) -> None:
    """A frame whose answer has a map: 4x4 voxels of 1 mm, the first of them not measured."""
    image = Image(
        name="MR", pixels=np.ones((1, 4, 4), np.complex64), frame="RAS", frame_from_image_mm=np.eye(4),
        device_time_ns=bench.now_ns, receive_time_ns=bench.now_ns,
    )  # fmt: skip
    valid = np.ones((1, 4, 4), bool)
    valid[0, 0, 0] = False
    arrays = {"magnitude": np.ones((1, 4, 4), np.float32), "temperature_c": np.full((1, 4, 4), 37.0, np.float32)}
    arrays |= {"sigma_c": np.zeros((1, 4, 4), np.float32), "valid": valid, "ras_from_image": np.eye(4)}
    job = next(e for e in bench.say("mr", image) if isinstance(e, Job) and e.kind == "thermometry")
    told = {"state": "ok", "valid_share": 1.0, "max_c": 37.0} | facts
    done = JobDone(now_ns=bench.now_ns, job=job.number, lane="guard", kind="thermometry", facts=told, arrays=arrays)
    bench.give(done)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"name": "1st"}, "a point's name"),
        ({"name": "a b"}, "a point's name"),
        ({"r_mm": float("nan")}, "r_mm must be a number"),
        ({"a_mm": "near"}, "a_mm must be a number"),
        ({"s_mm": True}, "s_mm must be a number"),
        ({"radius_mm": 100.0}, "radius_mm must be 0.5 to 20"),
        ({"limit_c": 300.0}, "limit_c must be 38 to 100"),
        ({"r_mm": 4.6}, "outside of the image"),
        ({"s_mm": 1.0}, "outside of the image"),
        ({"r_mm": 0.0, "a_mm": 0.0}, "nothing is measured"),
    ],
)
def test_a_point_must_lie_where_something_is_measured(bench: Any, values: dict[str, Any], reason: str) -> None:
    answer(bench)
    refused = act(bench, "PLACE_POINT", **{**HERE, **values})
    assert not refused.done and reason in refused.reasons[0]
    assert not bench.core.places.points


def test_without_a_temperature_there_is_nothing_to_watch(bench: Any) -> None:
    assert act(bench, "PLACE_POINT", **HERE).reasons == ("there is no temperature yet",)


def test_a_point_is_placed_once_and_not_without_end(bench: Any) -> None:
    answer(bench)
    assert act(bench, "PLACE_POINT", **HERE).done
    assert act(bench, "PLACE_POINT", **HERE).reasons == ("the name 'rib' is taken",)
    for n in range(7):
        assert act(bench, "PLACE_POINT", **{**HERE, "name": f"p{n}"}).done
    assert "remove one first" in act(bench, "PLACE_POINT", **{**HERE, "name": "more"}).reasons[0]
    assert act(bench, "REMOVE_POINT", name="p0").done
    assert act(bench, "PLACE_POINT", **{**HERE, "name": "more"}).done
    assert "there is no point 'p0'" in act(bench, "REMOVE_POINT", name="p0").reasons[0]


def test_a_placed_region_with_a_limit_stops_the_treatment(treating: Any) -> None:
    answer(treating)
    assert act(treating, "PLACE_POINT", **HERE, limit_c=43.0).done
    jobs = [e for e in treating.seen if isinstance(e, Job) and e.kind == "place"]
    assert jobs[-1].inputs == {"name": "rib", "at_mm": (2.0, 1.0, 0.0), "radius_mm": 3.0}
    cool = {"rib.known": True, "rib.region_c": 42.0, "rib.voxel_c": 42.5, "rib.mean_c": 41.0, "rib.max_c": 42.0}
    for _ in range(3):
        treating.step(200, image=False)
        answer(treating, **cool)
    assert treating.core.treatment.phase is Phase.TREATING
    assert "guarded while energy flows" in act(treating, "REMOVE_POINT", name="rib").reasons[0]
    treating.step(200, image=False)
    answer(treating, **{**cool, "rib.region_c": 43.2})
    assert treating.core.treatment.phase is Phase.STOPPED
    alarm = treating.core.judge.alarms["T1", "rib"]
    assert alarm.present and alarm.limit == 43.0
    assert act(treating, "REMOVE_POINT", name="rib").done
    treating.step(20)
    assert not alarm.present


def test_a_placed_region_that_is_not_seen_holds(treating: Any) -> None:
    answer(treating)
    act(treating, "PLACE_POINT", **HERE, limit_c=43.0)
    treating.step(200, image=False)
    answer(treating, **{"rib.known": False})
    assert treating.core.treatment.phase is Phase.HOLD


def test_a_watched_region_without_limit_decides_nothing(treating: Any) -> None:
    answer(treating)
    act(treating, "PLACE_POINT", **HERE)
    treating.step(200, image=False)
    answer(treating, **{"rib.known": True, "rib.region_c": 90.0, "rib.voxel_c": 90.0, "rib.mean_c": 90.0})
    assert treating.core.treatment.phase is Phase.TREATING


def test_in_a_room_without_thermometry_a_point_is_a_mark(make_bench: Any, plain_room: dict[str, Any]) -> None:
    bench = make_bench({key: value for key, value in plain_room.items() if key != "thermometry"})
    assert act(bench, "PLACE_POINT", **HERE).done
    assert "measures no temperature" in act(bench, "PLACE_POINT", **{**HERE, "name": "b"}, limit_c=45.0).reasons[0]
    assert "mm away" in act(bench, "PLACE_POINT", **{**HERE, "name": "c", "r_mm": 5000.0}).reasons[0]


def test_the_ball_is_measured_in_space_and_never_empty() -> None:
    ras = np.diag([2.0, 2.0, 5.0, 1.0])
    ball = ball_mask(np.array([10.0, 10.0, 5.0]), 4.0, ras, (3, 12, 12))
    k, j, i = np.nonzero(ball)
    assert set(k) == {1} and len(k) == 13 and (i.min(), i.max(), j.min(), j.max()) == (3, 7, 3, 7)
    assert ball_mask(np.array([10.9, 10.9, 5.0]), 0.5, ras, (3, 12, 12)).sum() == 1
    assert ball_mask(np.array([500.0, 0.0, 0.0]), 5.0, ras, (3, 12, 12)).sum() == 0


def test_the_lane_measures_what_was_placed(plain_room: dict[str, Any]) -> None:
    work = GuardWork(parse_settings(plain_room, "test"), None)
    noise = np.random.default_rng(1)

    def facts(n: int) -> dict[str, Any]:
        pixels = (100.0 + noise.normal(size=(1, 32, 32, 2))).astype(np.float32).view(np.complex64)[..., 0]
        image = Image(name="MR", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4), device_time_ns=n)
        return work.thermometry(image, 0.2 * n, 0.0)[0]

    work.place("rib", (16.0, 16.0, 0.0), 3.0)
    answers = [facts(n) for n in range(1, 10)]
    assert answers[-1]["rib.known"] and abs(answers[-1]["rib.mean_c"] - 37.0) < 1.0
    work.place("rib", (16.0, 16.0, 0.0), 0.0)
    assert "rib.known" not in facts(10)


def test_power_is_lowered_at_once_and_raised_only_with_a_new_arming(treating: Any) -> None:
    assert act(treating, "SET_POWER", power_w=20.0).done
    treating.step(30)
    sent = [m.values["power_w"] for m in treating.sent(Command, "therapy") if m.verb == "POWER"]
    assert sent[-1] == 20.0
    assert act(treating, "SET_POWER", power_w=30.0).reasons == ("20 W were confirmed; more needs a new arming",)
    act(treating, "FINISH")
    assert act(treating, "SET_POWER", power_w=30.0).done
    assert "at most 50" in act(treating, "SET_POWER", power_w=51.0).reasons[0]
    assert "must be a number" in act(treating, "SET_POWER", power_w="full").reasons[0]
    assert act(treating, "ARM").done and treating.core.treatment.shown() == {"power_w": 30.0}
    assert "it is armed with 30 W" in act(treating, "SET_POWER", power_w=10.0).reasons[0]


def test_a_late_frame_is_judged_by_what_has_gone_on_since(plain_room: dict[str, Any]) -> None:
    def warmest(late_s: float) -> float:
        work, noise = GuardWork(parse_settings(plain_room, "test"), None), np.random.default_rng(1)
        work.place("rib", (16.0, 16.0, 0.0), 3.0)
        facts: dict[str, Any] = {}
        for n in range(1, 12):
            pixels = (100.0 + 0.1 * noise.normal(size=(1, 32, 32, 2))).astype(np.float32).view(np.complex64)[..., 0]
            pixels[0, 12:21, 12:21] *= np.exp(-0.1j * max(n - 9, 0))
            image = Image(name="MR", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4), device_time_ns=n)
            facts = work.thermometry(image, 0.2 * n, 0.0, late_s)[0]
        return float(facts["rib.region_c"])

    rise = warmest(0.0) - warmest(-0.2)  # of one period
    assert rise > 0.5
    assert warmest(0.6) - warmest(0.0) == pytest.approx(3.0 * rise, rel=0.03)
