"""Prints where the tools are in the plan's space, and every alarm. Needs pyigtl only.

python examples/pyigtl_console.py 127.0.0.1 18950
"""

import sys
import time

import pyigtl

client = pyigtl.OpenIGTLinkClient(sys.argv[1], int(sys.argv[2]))
while True:
    for message in client.get_latest_messages():
        if message.message_type == "TRANSFORM":
            print(message.device_name, message.matrix[:3, 3], flush=True)  # e.g. NeedleToRAS, mm
        elif message.message_type == "STRING":
            print(message.device_name, message.string, flush=True)  # Alert: one alarm whole, as JSON
    time.sleep(0.02)
