"""Prints the state of every alarm of every room; topics and payloads: devices/mqtt/alerts.py. Needs paho-mqtt only.

python examples/mqtt_alerts.py 127.0.0.1 18961
"""

import json
import sys
from typing import Any

import paho.mqtt.client as mqtt


def tell(_client: Any, _user: Any, message: mqtt.MQTTMessage) -> None:
    note = json.loads(message.payload or "{}")  # empty: the alarm of an earlier run was removed
    alert = note.get("alert", {})
    said = note.get("state") or f"{alert.get('priority')} {alert.get('state')}: {alert.get('text')}"
    print(message.topic, said, flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_connect = lambda *_: client.subscribe([("guidance/+/alerts/+", 1), ("guidance/+/state", 1)])
client.on_message = tell
client.connect(sys.argv[1], int(sys.argv[2]))
client.loop_forever()
