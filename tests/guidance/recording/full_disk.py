"""Fill a small disk with a recording and a journal, and print what they said and what they left."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from recording_kit import reply

from devices.messages import Image
from guidance.events import Arrival
from guidance.recording.journal import Journal, read_journal
from guidance.recording.reader import Recording
from guidance.recording.writer import Recorder

folder = Path(sys.argv[1])
journal = Journal(folder, "a.journal")
recorder = Recorder(folder, {}, name="a.mcap")
chance = np.random.default_rng(1)
for i in range(20):
    pixels = chance.integers(0, 255, (1, 200, 200), dtype=np.uint8)
    image = Image(name="us", pixels=pixels, frame="I", frame_from_image_mm=np.eye(4))
    recorder.append(Arrival(now_ns=i, link="us", message=image), [reply(i)])
    journal.append(bytes([1 + i]) * 4000)
    time.sleep(0.1)
health, recorded = journal.close(), recorder.close()
print(
    json.dumps(
        {
            "recorder_error": recorded.error,
            "written": recorded.written,
            "lost": recorded.lost,
            "read": len(list(Recording(recorder.path).steps())),
            "journal_error": health.error,
            "synced": health.synced_up_to,
            "journal_read": len(read_journal(journal.path)),
        }
    )
)
