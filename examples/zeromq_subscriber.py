"""Prints every message of a room; framing: devices/zeromq/framing.py. Needs pyzmq, msgspec and NumPy only.

python examples/zeromq_subscriber.py tcp://127.0.0.1:18960 or-1
"""

import sys

import msgspec
import numpy as np
import zmq

subscriber = zmq.Context.instance().socket(zmq.SUB)
subscriber.connect(sys.argv[1])
subscriber.subscribe(f"room/{sys.argv[2]}/")  # or a prefix: room/or-1/guided_pose/, room/or-1/image/
while True:
    topic, header, *arrays = subscriber.recv_multipart()
    message = msgspec.msgpack.decode(header)["message"]
    for field, value in message.items():
        if isinstance(value, dict) and "dtype" in value:
            data = value["data"] if "data" in value else arrays[value["beside"]]
            message[field] = np.frombuffer(data, value["dtype"]).reshape(value["shape"])
    print(topic.decode(), message, flush=True)
