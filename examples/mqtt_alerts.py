"""Prints the current state of every alarm of every room, and whether its source lives. Needs paho-mqtt only.

    python examples/mqtt_alerts.py 127.0.0.1 1883

Topics and payloads, and how to miss nothing, are documented in devices/mqtt/alerts.py.
"""

import json
import sys

import paho.mqtt.client as mqtt

host, port = sys.argv[1:]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_connect = lambda *_: client.subscribe([("guidance/+/alerts/+", 1), ("guidance/+/state", 1)])


def on_message(_client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
    note = json.loads(message.payload or "{}")  # empty: the alarm of an earlier run was removed
    alert = note.get("alert", {})
    print(
        message.topic,
        note.get("state") or f"{alert.get('priority')} {alert.get('state')}: {alert.get('text')}",
        flush=True,
    )


client.on_message = on_message
client.connect(host, int(port))
client.loop_forever()
