"""Every branch of the safety core is taken by its own tests alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_safety_cores_own_tests_take_every_branch(tmp_path: Path) -> None:
    coverage = [sys.executable, "-m", "coverage"]
    data = f"--data-file={tmp_path / 'coverage'}"
    run = [
        *coverage,
        "run",
        data,
        "--branch",
        "--source=guidance/safety",
        "-m",
        "pytest",
        "-q",
        "tests/guidance/safety",
    ]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    report = [*coverage, "report", data, "--show-missing", "--skip-covered", "--fail-under=100"]
    told = subprocess.run(report, cwd=ROOT, capture_output=True, text=True, check=False)
    print(told.stdout)
    assert told.returncode == 0, told.stdout
