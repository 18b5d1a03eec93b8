"""MQTT: the alert feed."""

from devices.mqtt.link import MqttLink
from devices.mqtt.outbox import MemoryOutbox, Outbox
from devices.mqtt.settings import MqttSettings, TlsFiles

__all__ = ["MemoryOutbox", "MqttLink", "MqttSettings", "Outbox", "TlsFiles"]
