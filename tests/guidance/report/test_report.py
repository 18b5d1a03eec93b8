"""A session with one of everything: the report says it in JSON and in HTML, and nothing from it can act."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices import messages as m
from devices.quality import Quality
from guidance.errors import RecordingError
from guidance.events import Act, AnyEvent, Arrival, Effect, Job, JobDone, LinkChange, Loss, Send, Tick
from guidance.recording.writer import Recorder
from guidance.report import figures, write_report
from guidance.report.series import MAX_POINTS, Curve

T0 = 1_750_000_000_000_000_000
MS = 1_000_000
EVIL = "<script>alert('x')</script>\"&"
HEADER = {
    "settings": {
        "room": "or-1",
        "procedure": "hifu_liver",
        "title": EVIL,
        "training": True,
        "streams": [
            {"name": "Needle", "source": "NeedleToTracker", "link": "tracker", "kind": "pose"},
            {"name": "MR", "source": None, "link": "mr", "kind": "thermometry"},
        ],
    },
    "limits": {"guard_c": {"value": 45.0, "unit": "degC", "source": "a book", "rationale": "because"}},
    "plan": None,
}


def at(ms: float) -> int:
    return T0 + round(ms * MS)


def pose(ms: float, quality: Quality = Quality.OK) -> Arrival:
    message = m.Pose(
        name="NeedleToTracker",
        moving="Needle",
        fixed="Tracker",
        fixed_from_moving=np.eye(4),
        device_time_ns=at(ms - 2),
        quality=quality,
    )
    return Arrival(now_ns=at(ms), link="tracker", message=message)


def alert(ms: float, sequence: int, state: str, name: str = "T1.rib", text: str = "rib too hot") -> Send:
    return Send(
        "console",
        m.Alert(
            name=name,
            room="or-1",
            priority=m.Priority.HIGH,
            kind=m.AlertKind.PHYSIOLOGICAL,
            state=state,
            text=text,
            reaction="STOP sent",
            advice="look",
            first_ns=at(ms),
            sequence=sequence,
            value=45.3,
            limit=45.0,
        ),
    )


def guided(ms: float, distance: float) -> Send:
    values = {"target_distance_mm": distance, "lateral_mm": distance / 2}
    message = m.GuidedPose(
        name="Needle", tool="Needle", ras_from_tool=np.eye(4), quality=Quality.OK, values=values, evidence={}
    )
    return Send("console", message)


def done(ms: float, job: int, **facts: float | str) -> JobDone:
    return JobDone(now_ns=at(ms), job=job, lane="guard", kind="thermometry", facts=dict(facts), started_ns=at(ms - 6))


def asked(job: int) -> Job:
    return Job(job, "guard", "t", "thermometry", {}, {"MR": at(100)})


def stop(number: int) -> Send:
    return Send("therapy", m.Command(name="laser", command_id=number, verb="STOP", reason="T1"), urgent=True)


def overlay() -> Send:
    picture = np.zeros((64, 64, 4), np.uint8)
    return Send(
        "console",
        m.Overlay(
            name="o",
            view="axial",
            rgba=picture,
            ras_from_image_mm=np.eye(4),
            quality=Quality.OK,
            evidence={"MR": at(100)},
        ),
    )


STEPS: list[tuple[AnyEvent, list[Effect]]] = [
    (LinkChange(now_ns=at(0), link="tracker", up=True, peer="127.0.0.1:1", reason="connected"), []),
    (pose(10), [guided(10, 8.0), guided(10, 8.0)]),
    (pose(20), [guided(20, 6.0)]),
    (pose(70, Quality.INVALID), []),
    (Loss(now_ns=at(80), link="tracker", stream="NeedleToTracker", count=3, reason="bad CRC"), []),
    (
        Arrival(
            now_ns=at(100),
            link="mr",
            message=m.Image(
                name="MR", pixels=np.zeros((1, 9, 9), np.uint8), frame="RAS", frame_from_image_mm=np.eye(4)
            ),
        ),
        [asked(1)],
    ),
    (done(108, 1, state="ok", max_c=47.25, max_cem43_min=12.5), [overlay(), alert(108, 1, "active"), stop(1), stop(1)]),
    (
        Arrival(
            now_ns=at(120),
            link="therapy",
            message=m.Acknowledgement(name="laser", command_id=1, verb="STOP", done=True),
        ),
        [],
    ),
    (Arrival(now_ns=at(130), link="x", message=m.Text(name=EVIL, text="?")), []),
    (done(140, 2, state="invalid"), [alert(140, 2, "acknowledged", text=EVIL)]),
    (Act(now_ns=at(150), verb="ACKNOWLEDGE", actor=EVIL, values={"alarm": "T1.rib"}), []),
    (
        Arrival(now_ns=at(160), link="console", message=m.Command(name="c1", command_id=7, verb="ARM")),
        [Send("console", m.Acknowledgement(name="c1", command_id=7, verb="ARM", done=False, text="no plan"))],
    ),
    (Tick(now_ns=at(200)), [alert(200, 3, "cleared"), alert(200, 4, "active", name="K1.Needle"), stop(2)]),
    (Tick(now_ns=at(300)), []),
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    recorder = Recorder(tmp_path, HEADER)
    for event, effects in STEPS:
        recorder.append(event, effects)
    assert recorder.close().written == len(STEPS)
    return recorder.path


def write(recording: Path, **more: Any) -> tuple[dict[str, Any], str]:
    page = write_report(recording, recording.parent / "out", **more)
    return json.loads(page.with_suffix(".json").read_text()), page.read_text()


def test_the_numbers(recording: Path) -> None:
    told, _ = write(recording)
    assert (told["duration_s"], told["steps"], told["started_utc"]) == (0.3, 14, "2025-06-15T15:06:40.000+00:00")
    needle = told["streams"]["Needle"]
    assert (needle["received"], needle["dropped"], needle["gap_max_ms"]) == (3, 3, 50.0)
    assert (needle["reasons"], needle["quality"]) == ({"bad CRC": 3}, {"ok": 2, "invalid": 1})
    assert needle["age_ms"]["p50"] == 2.0
    assert told["thermometry"]["frames"] == {"ok": 1, "invalid": 1}
    assert (told["thermometry"]["max_temperature_c"], told["thermometry"]["max_cem43_min"]) == (47.25, 12.5)
    assert told["tools"]["Needle"]["poses"] == 2
    assert told["tools"]["Needle"]["values"]["target_distance_mm"] == {"least": 6.0, "most": 8.0, "last": 6.0}
    assert told["lanes"]["thermometry"]["answer_ms"] == {"n": 1, "p50": 8.0, "p99": 8.0, "max": 8.0}
    assert told["image_to_overlay_ms"]["max"] == 8.0
    assert told["recording"] == {"complete": True, "cut_bytes": 0, "lost_steps": 0}


def test_alarms_and_commands(recording: Path) -> None:
    told, _ = write(recording)
    first, second = told["alarms"]
    assert (first["id"], first["from_s"], first["acknowledged_s"], first["cleared_s"]) == ("T1.rib", 0.108, 0.14, 0.2)
    assert (second["id"], second["cleared_s"]) == ("K1.Needle", None)
    (stops,) = told["commands"]
    assert (stops["commands"], stops["sent"], stops["answers"], stops["confirmed"]) == (2, 3, 1, 1)
    assert stops["slowest_ms"] == 12.0
    assert (stops["s"], stops["until_s"]) == (0.108, 0.2)


def test_acts_with_their_outcome(recording: Path) -> None:
    told, _ = write(recording)
    one, two = told["acts"]
    assert (one["verb"], one["actor"], one["s"]) == ("ACKNOWLEDGE", EVIL, 0.15)
    assert (two["verb"], two["actor"], two["outcome"]) == ("ARM", "console: c1", "refused: no plan")


class Tags(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = frozenset({"meta", "img", "br", "path", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_sound_and_nothing_in_it_can_act(recording: Path) -> None:
    _, html = write(recording)
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert "script" not in tags.seen
    assert {"svg", "table", "figure"} <= tags.seen
    assert "<script" not in html
    assert "default-src &#x27;none&#x27;" in html or "default-src 'none'" in html
    for words in ("TRAINING", "RESEARCH SOFTWARE", "▲▲▲ HIGH", "47.2", "bad CRC", "a book", "No plan was loaded"):
        assert words in html, words


def test_the_same_recording_gives_the_same_bytes(recording: Path) -> None:
    assert write(recording) == write(recording)


def test_pictures_are_shown(recording: Path) -> None:
    _, html = write(recording, pictures={"axial at 1 s": np.full((4, 4, 4), 255, np.uint8)})
    assert 'src="data:image/png;base64,' in html
    assert "axial at 1 s" in html


def test_a_cut_recording_says_so(recording: Path) -> None:
    whole = recording.read_bytes()
    recording.write_bytes(whole[:-30])
    told, html = write(recording)
    assert not told["recording"]["complete"]
    assert "This recording is not whole" in html


def test_an_empty_recording_has_a_report(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    recorder.close()
    told, html = write(recorder.path)
    assert (told["duration_s"], told["thermometry"], told["alarms"]) == (0.0, None, [])
    assert "There was no alarm" in html


def test_errors_name_the_file(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(RecordingError, match=r"absent.mcap: cannot be read"):
        write_report(tmp_path / "absent.mcap", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordingError, match="the report cannot be written"):
        write_report(recording, tmp_path / "file")


def test_thinning_keeps_the_extremes() -> None:
    curve = Curve()
    values = np.sin(np.arange(100_000) / 50.0)
    values[77_777] = 9.0
    for i, value in enumerate(values):
        curve.add(T0 + i * MS, value)
    seconds, shown = curve.thinned(T0)
    assert len(shown) <= MAX_POINTS
    assert shown.max() == 9.0
    assert seconds[shown.argmax()] == pytest.approx(77.777)
    assert (np.diff(seconds) > 0).all()


def test_a_curve_has_a_hole_where_nothing_was_measured() -> None:
    curve = Curve()
    for ms in [*range(0, 5000, 10), *range(9000, 12000, 10)]:
        curve.add(T0 + ms * MS, 1.0)
    seconds, values = figures._broken(*curve.thinned(T0))
    (hole,) = np.flatnonzero(np.isnan(values))
    assert (seconds[hole - 1], seconds[hole + 1]) == (4.99, 9.0)
