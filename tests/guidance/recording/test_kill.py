"""Kill -9 while recording: nothing acknowledged is lost, everything left is right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("GUIDANCE_KILLS", "6"))  # the full campaign: 500


def test_kill_9_loses_no_acknowledged_record(tmp_path: Path) -> None:
    seed = int(os.environ.get("GUIDANCE_SEED", "1"))
    program = Path(__file__).with_name("kill_campaign.py")
    command = [sys.executable, str(program), str(tmp_path), str(KILLS), str(seed)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60 + 5 * KILLS, check=False)
    assert run.returncode == 0, run.stderr
    total = json.loads(run.stdout)
    print(f"seed {seed}: {total}")
    assert total["kills"] == KILLS
    assert total["acknowledged"] > KILLS
    assert (total["acknowledged_lost"], total["wrong"]) == (0, 0), f"seed {seed}: {total}"
    assert total["steps"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_really_full_disk(tmp_path: Path) -> None:
    """On a tmpfs of 256 kB: both tell of it, both keep what was written readable."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this container may not mount a tmpfs")
    try:
        program = Path(__file__).with_name("full_disk.py")
        run = subprocess.run([sys.executable, str(program), str(disk)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        found = json.loads(run.stdout)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert "No space left" in found["recorder_error"]
    assert "No space left" in found["journal_error"]
    assert found["lost"] > 0
    assert found["read"] == found["written"] > 0
    assert found["journal_read"] == found["synced"] > 0
