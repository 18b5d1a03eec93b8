"""Replay: the same bytes come out again, a changed byte does not pass, an empty session proves nothing."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.messages import GuidedPose
from guidance.events import Send
from guidance.load import config_file, load_room, recording_header
from guidance.recording.reader import Recording
from guidance.recording.writer import Recorder
from guidance.replay import check
from guidance.trial import run_trial


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten virtual seconds of the default room."""
    row = run_trial("hifu_liver", 7, 10.0, tmp_path_factory.mktemp("trial"))
    assert row["ok"], row
    return Path(row["recording"])


def test_a_session_replays_identically(recorded: Path) -> None:
    report = check(recorded)
    assert report.ok, report.faults
    assert report.outputs > 1000
    assert report.computed > 50
    assert report.compute_exact == report.computed


def test_the_same_seed_gives_the_same_events_and_outputs(recorded: Path, tmp_path: Path) -> None:
    again = Path(run_trial("hifu_liver", 7, 10.0, tmp_path)["recording"])
    first, second = (list(Recording(path).steps()) for path in (recorded, again))
    assert [outputs for _, outputs in first] == [outputs for _, outputs in second]


def test_another_seed_gives_other_outputs(recorded: Path, tmp_path: Path) -> None:
    other = Path(run_trial("hifu_liver", 8, 2.0, tmp_path)["recording"])
    first, second = (dict(enumerate(outputs for _, outputs in Recording(path).steps())) for path in (recorded, other))
    assert any(first[number] != outputs for number, outputs in second.items())


def test_a_changed_output_is_found(recorded: Path, tmp_path: Path) -> None:
    assert "differs" in " ".join(_rewritten(recorded, tmp_path, _move_a_pose).faults)


def test_a_missing_output_is_found(recorded: Path, tmp_path: Path) -> None:
    assert not _rewritten(recorded, tmp_path, lambda number, effects: effects[:-1] if number == 700 else effects).ok


def test_a_file_cut_in_the_middle_replays_to_its_last_whole_chunk(recorded: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    shutil.copy(recorded, cut)
    with cut.open("r+b") as file:
        file.truncate(recorded.stat().st_size // 2)
    report = check(cut)
    assert report.ok, report.faults
    assert report.cut_bytes > 0


def test_an_empty_session_proves_nothing(tmp_path: Path) -> None:
    settings, plan, limits = load_room(config_file("procedures", "hifu_liver"))
    recorder = Recorder(tmp_path, recording_header(settings, plan, limits))
    recorder.close()
    report = check(recorder.path)
    assert not report.ok
    assert "empty or trivial" in report.faults[0]


def _move_a_pose(number: int, effects: list[Any]) -> list[Any]:
    for index, effect in enumerate(effects):
        if number > 500 and isinstance(effect, Send) and isinstance(effect.message, GuidedPose):
            moved = effect.message.ras_from_tool.copy()
            moved[0, 3] += 1e-9
            message = msgspec.structs.replace(effect.message, ras_from_tool=moved)
            return [*effects[:index], Send(effect.link, message, effect.urgent), *effects[index + 1 :]]
    return effects


def _rewritten(recorded: Path, folder: Path, change: Any) -> Any:
    """The recording with changed outputs, replayed."""
    from guidance.replay import Replayer

    replayer = Replayer(recorded)
    recorder = Recorder(folder, replayer.recording.header, waits=True)
    for number, (event, effects, _) in enumerate(replayer.steps()):
        recorder.append(event, change(number, list(effects)))
        if number > 1200:
            break
    recorder.close()
    return check(recorder.path)
