"""The command line as a user meets it: exit codes, words, files, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from devices.messages import GuidedPose
from guidance.events import Send
from guidance.replay import Replayer

ROOT = Path(__file__).resolve().parents[2]
GUIDANCE = [sys.executable, "-m", "guidance"]


def guidance(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GUIDANCE, *map(str, words)], capture_output=True, text=True, timeout=180, cwd=cwd, check=False
    )


def told_poses(recording: Path) -> set[tuple[str, str]]:
    """(tool, quality) of every guided pose of a session."""
    sends = (effect for _, effects, _ in Replayer(recording).steps(compute=False) for effect in effects)
    messages = [effect.message for effect in sends if isinstance(effect, Send)]
    return {(pose.tool, pose.quality.value) for pose in messages if isinstance(pose, GuidedPose)}


@pytest.mark.parametrize("verb", ["demo", "run", "sim", "replay", "trial", "check", "bench", "report"])
def test_every_verb_has_help(verb: str) -> None:
    done = guidance(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert verb in done.stdout


def test_the_demo_shows_a_procedure_and_leaves_a_recording_that_replays(tmp_path: Path) -> None:
    summary_file = tmp_path / "summary.json"
    done = guidance("demo", "--duration", 6, "--summary", summary_file, "--no-browser", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "console: http://127.0.0.1:" in done.stdout
    summary = json.loads(summary_file.read_text())
    assert summary["duration_s"] == pytest.approx(6.0, abs=1.0)
    assert all(row["received"] > 10 for row in summary["streams"].values())
    assert all(row["dropped"] == 0 for name, row in summary["streams"].items() if name not in ("Ultrasound", "MR"))
    assert summary["latency_ms"]["pose_to_output"]["n"] > 1000
    assert summary["device_to_consumer_ms"]["pose"]["n"] > 100
    assert summary["outputs"]["overlays"] > 50
    checked = guidance("replay", summary["recording"], "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "replays identically" in checked.stdout


def test_sigterm_ends_the_demo_and_every_child(tmp_path: Path) -> None:
    process = subprocess.Popen([*GUIDANCE, "demo", "--no-browser"], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("console:"):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert children, "the simulated room is a child"
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        assert process.returncode == 0
        _, alive = psutil.wait_procs(children, timeout=2)
        assert not alive
    finally:
        process.kill()
        process.stdout.close()


def test_a_killed_demo_leaves_no_child(tmp_path: Path) -> None:
    process = subprocess.Popen([*GUIDANCE, "demo", "--no-browser"], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("console:"):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
    finally:
        process.kill()
        process.stdout.close()


def test_check_lists_every_fault_with_its_path(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(
        'room = "x"\nprocedure = "y"\nsurprise = 1\n'
        '[[links]]\nid = "a"\nkind = "carrier-pigeon"\n'
        '[[streams]]\nname = "s"\nlink = "a"\nkind = "pose"\nperiod_ms = -1\n'
    )
    done = guidance("check", broken)
    assert done.returncode == 1
    told = done.stdout + done.stderr
    for path in ("surprise", "links.0.kind", "streams.0.period_ms"):
        assert path in told


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "config" / "procedures").glob("*.toml")))
def test_every_procedure_has_no_fault(name: str) -> None:
    done = guidance("check", name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_missing_configuration_is_told_in_words() -> None:
    done = guidance("run", "no-such-room")
    assert done.returncode == 2
    assert "neither a .toml file nor one of" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_recording_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_bytes(b"not a recording")
    done = guidance("replay", tmp_path / "x.mcap", "--check")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.data
@pytest.mark.parametrize("name", ["nwire_freehand", "spine_freehand", "breathing_gre"])
def test_real_recordings_stream_into_the_service(name: str, data_dir: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "GUIDANCE_DATA": str(data_dir)}
    devices = subprocess.Popen(
        [sys.executable, "-m", "sim", name, "--duration", "40"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert devices.stdout is not None
        ready = json.loads(devices.stdout.readline())["ready"]
        links = [f"--link={link}={address}" for link, address in ready.items() if link != "console"]
        done = guidance(
            "run", name, "--duration", 5, "--summary", tmp_path / "s.json", "--record", tmp_path / "r.mcap", *links
        )
        assert done.returncode == 0, done.stderr
        summary = json.loads((tmp_path / "s.json").read_text())
        assert summary["outputs"]["overlays"] > 10
        if name == "nwire_freehand":
            assert summary["streams"]["Stylus"]["received"] > 20
            assert any(alert["id"].endswith(".Stylus") for alert in summary["alerts"])
            assert {quality for tool, quality in told_poses(tmp_path / "r.mcap") if tool == "Stylus"} <= {"invalid"}
            assert ("Probe", "ok") in told_poses(tmp_path / "r.mcap")
        if name == "breathing_gre":
            assert summary["thermometry"]
        checked = guidance("replay", tmp_path / "r.mcap", "--check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
    finally:
        devices.send_signal(signal.SIGTERM)
        devices.wait(timeout=60)
        devices.stdout.close()
