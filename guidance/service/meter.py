"""Meters: how long things took, from the receive stamp to the bytes handed to the socket."""

from devices.messages import Alert, Command, GuidedPose, Overlay
from guidance.events import AnyEvent, Arrival, Job, JobDone, Send
from guidance.service.histogram import Histogram

KINDS = ("pose_to_output", "image_to_overlay", "evidence_to_stop", "evidence_to_alert")


class Meter:
    """Latency histograms and counts of what the service sent."""

    def __init__(self, image_streams: frozenset[str]) -> None:
        self.latency = {kind: Histogram() for kind in KINDS}
        self.loop_late = Histogram()
        self.outputs = {"overlays": 0, "guided_poses": 0, "stops": 0, "alerts": 0}
        self._image_streams = image_streams
        self._last: dict[type, object] = {}  # kind of message -> the one that was sent last
        self._received: dict[int, int] = {}  # job -> receive time of the image that it is about

    def submitted(self, job: Job) -> None:
        """Remember what a job is made from, for the STOP that its result may cause."""
        received = [ns for stream, ns in job.evidence.items() if stream in self._image_streams]
        if received:
            self._received[job.number] = max(received)

    def finished(self, event: AnyEvent) -> None:
        """Forget the job once the core has taken its result."""
        if isinstance(event, JobDone):
            self._received.pop(event.job, None)

    def _evidence_ns(self, event: AnyEvent) -> int:
        if isinstance(event, JobDone):
            return self._received.get(event.job, event.now_ns)
        return event.message.receive_time_ns if isinstance(event, Arrival) else event.now_ns

    def sent(self, event: AnyEvent, send: Send, now_ns: int) -> None:
        """Count one message that was just handed to its link because of `event`."""
        message = send.message
        again = self._last.get(type(message)) is message  # one message on several links counts once
        self._last[type(message)] = message
        if isinstance(message, GuidedPose):
            self.outputs["guided_poses"] += not again
            if isinstance(event, Arrival):
                self.latency["pose_to_output"].add(now_ns - event.message.receive_time_ns)
        elif isinstance(message, Overlay):
            self.outputs["overlays"] += not again
            received = [ns for stream, ns in message.evidence.items() if stream in self._image_streams]
            if received and isinstance(event, JobDone):
                self.latency["image_to_overlay"].add(now_ns - max(received))
        elif isinstance(message, Alert):
            self.outputs["alerts"] += not again
            self.latency["evidence_to_alert"].add(now_ns - self._evidence_ns(event))
        elif isinstance(message, Command) and message.verb == "STOP":
            self.outputs["stops"] += 1
            self.latency["evidence_to_stop"].add(now_ns - self._evidence_ns(event))
