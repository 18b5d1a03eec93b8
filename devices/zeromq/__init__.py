"""ZeroMQ: poses and images in, guided poses, overlays and numbers out, commands acknowledged."""

from devices.zeromq.framing import from_parts, to_parts, topic_of
from devices.zeromq.link import ZeroMQLink
from devices.zeromq.settings import CurveKeys, ZeroMQSettings

__all__ = ["CurveKeys", "ZeroMQLink", "ZeroMQSettings", "from_parts", "to_parts", "topic_of"]
