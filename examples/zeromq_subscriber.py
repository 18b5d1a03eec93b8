"""Prints every guided pose and metric of a room. Needs pyzmq, msgpack (or msgspec) and NumPy only.

    python examples/zeromq_subscriber.py tcp://127.0.0.1:5556 or-1

The framing is documented in devices/zeromq/framing.py.
"""

import sys

import msgspec
import numpy as np
import zmq

endpoint, room = sys.argv[1:]
subscriber = zmq.Context.instance().socket(zmq.SUB)
subscriber.connect(endpoint)
subscriber.subscribe(f"room/{room}/")  # or a prefix: room/or-1/guided_pose/, room/or-1/image/
while True:
    topic, header, *arrays = subscriber.recv_multipart()
    message = msgspec.msgpack.decode(header)["message"]
    for field, value in message.items():
        if isinstance(value, dict) and "dtype" in value:
            data = value["data"] if "data" in value else arrays[value["beside"]]
            message[field] = np.frombuffer(data, value["dtype"]).reshape(value["shape"])
    print(topic.decode(), message, flush=True)
