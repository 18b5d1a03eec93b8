"""What happened in a session, from its recording: numbers, pictures and words for people, JSON for programs."""

from guidance.report.collect import Session, collect
from guidance.report.write import write_report

__all__ = ["Session", "collect", "write_report"]
