"""What one peer asked for: STT_ and STP_ at their resolution. A state without I/O; times in loop seconds."""

from devices.messages import (
    AnyMessage,
    GuidedPose,
    Image,
    Metrics,
    Outlines,
    Overlay,
    Paths,
    Points,
    Pose,
    Reading,
    Status,
    Text,
)

# The wire type that a peer subscribes to, by the message that feeds it.
SUBJECT: dict[type, str] = {
    Pose: "TRANSFORM",
    GuidedPose: "TRANSFORM",
    Image: "IMAGE",
    Overlay: "IMAGE",
    Points: "POINT",
    Paths: "TRAJ",
    Outlines: "POLYDATA",
    Status: "STATUS",
    Text: "STRING",
    Reading: "STRING",
    Metrics: "STRING",
}
BUNDLES = ("TDATA", "QTDATA")
_ALIASES = {"POSITION": "TRANSFORM", "QTRANS": "TRANSFORM", "SENSOR": "STRING"}
_SLACK_S = 1e-4  # a stream at exactly the asked rate is not halved by jitter


class Subscriptions:
    """Decides which messages go to a peer one by one, and which wait for its next bundle."""

    def __init__(self, push: bool) -> None:
        self._push = push
        self.everything = push  # nothing was asked for, nothing stopped: every message goes out as it comes
        self._interval_s: dict[str, float] = {}
        self._stopped: set[str] = set()
        self._last: dict[tuple[str, str], float] = {}
        self.bundle = ""  # TDATA or QTDATA, where poses go in bundles
        self.bundle_interval_s = 0.0

    def start(self, subject: str, interval_ns: int) -> bool:
        """STT_: True where such a stream exists here."""
        self.everything = False
        interval_s = interval_ns / 1e9
        if subject in BUNDLES:
            self.bundle, self.bundle_interval_s = subject, interval_s
            self._stopped.discard("TRANSFORM")
            return True
        subject = _ALIASES.get(subject, subject)
        if subject not in SUBJECT.values():
            return False
        self._stopped.discard(subject)
        self._interval_s[subject] = interval_s
        return True

    def stop(self, subject: str) -> bool:
        """STP_: True where such a stream exists here."""
        self.everything = False
        if subject in BUNDLES:
            self.bundle = ""
            subject = "TRANSFORM"
        subject = _ALIASES.get(subject, subject)
        if subject not in SUBJECT.values():
            return False
        self._interval_s.pop(subject, None)
        self._stopped.add(subject)
        return True

    def admits(self, message: AnyMessage, now_s: float) -> bool:
        """True where the message is to be sent by itself, now."""
        subject = SUBJECT.get(type(message))
        if subject is None:
            return True
        if subject in self._stopped:
            return False
        interval_s = self._interval_s.get(subject)
        if interval_s is None:
            return self._push
        key = (subject, message.name)
        if interval_s and now_s - self._last.get(key, -interval_s) < interval_s - _SLACK_S:
            return False
        self._last[key] = now_s
        return True
