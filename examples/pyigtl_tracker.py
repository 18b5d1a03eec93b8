"""Sends the pose of a needle 50 times a second. Needs pyigtl only.

python examples/pyigtl_tracker.py 127.0.0.1 18944
"""

import sys
import time

import numpy as np
import pyigtl

client = pyigtl.OpenIGTLinkClient(sys.argv[1], int(sys.argv[2]))
while True:
    tracker_from_needle = np.eye(
        4
    )  # mm; leave a message out while the tool is not seen, never send the last pose again
    tracker_from_needle[:3, 3] = 10, 20, 30 + np.sin(time.time())
    client.send_message(
        pyigtl.TransformMessage(tracker_from_needle, device_name="NeedleToTracker", timestamp=time.time())
    )
    time.sleep(0.02)
