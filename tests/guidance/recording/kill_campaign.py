"""Kill -9 a process that records, again and again, and read what it left. Run by `test_kill`.

A program of its own so that the killed processes are forked from one that has no threads.
"""

import json
import os
import random
import select
import shutil
import signal
import sys
import time
from pathlib import Path

from recording_kit import pose, reply, same

from guidance.recording.codec import output_record
from guidance.recording.journal import Journal, read_journal
from guidance.recording.reader import Recording
from guidance.recording.writer import Recorder


def live(folder: Path, acknowledged: int) -> None:
    """Record steps and journal entries as fast as they go; tell every synced sequence through the pipe."""
    journal = Journal(
        folder, "a.journal", lambda sequence: os.write(acknowledged, sequence.to_bytes(8, "little")) and None
    )
    recorder = Recorder(folder, {"room": "r"}, name="a.mcap")
    number, parent = 0, os.getppid()
    while os.getppid() == parent:  # never outlive a campaign that was itself killed
        recorder.append(pose(number), [reply(number)])
        if number % 5 == 0:
            journal.append(f"alert {number // 5}".encode() * 20)
        number += 1
        time.sleep(0.0002)


def inspect(folder: Path, synced: int, total: dict[str, int]) -> None:
    """Count what is wrong with what a killed process left."""
    records = read_journal(folder / "a.journal")
    total["acknowledged"] += synced
    total["acknowledged_lost"] += max(0, synced - len(records))
    total["wrong"] += sum(r != f"alert {i}".encode() * 20 for i, r in enumerate(records))
    reopened = Journal(folder, "a.journal")
    total["wrong"] += reopened.recovered != records
    total["torn_journals"] += bool(reopened.report)
    reopened.close()
    recording = Recording(folder / "a.mcap")
    total["cut_recordings"] += bool(recording.cut_bytes)
    for i, (event, outputs) in enumerate(recording.steps()):
        total["wrong"] += not same(event, pose(i)) or outputs != [output_record(reply(i))]
        total["steps"] += 1
    total["wrong"] += recording.missing


def main(root: Path, kills: int, seed: int) -> dict[str, int]:
    """Run the campaign; the counts."""
    chance = random.Random(seed)
    names = ("kills", "acknowledged", "acknowledged_lost", "wrong", "steps", "torn_journals", "cut_recordings")
    total = dict.fromkeys(names, 0)
    for number in range(kills):
        folder = root / str(number)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            live(folder, writer)
            os._exit(1)
        os.close(writer)
        synced = int.from_bytes(os.read(reader, 8), "little")  # wait until it is at work
        time.sleep(chance.uniform(0, 1.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while select.select([reader], [], [], 0)[0] and (told := os.read(reader, 8)):
            synced = int.from_bytes(told, "little")
        os.close(reader)
        inspect(folder, synced, total)
        total["kills"] += 1
        shutil.rmtree(folder)
    return total


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
