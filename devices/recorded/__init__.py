"""Recordings of real devices, read into messages and played as peers."""

from devices.recorded.errors import RecordedDataError
from devices.recorded.sequence import Sequence, read_sequence
from devices.recorded.sequence_peer import SequencePeer
from devices.recorded.volume import Limits, Series, Volume

__all__ = ["Limits", "RecordedDataError", "Sequence", "SequencePeer", "Series", "Volume", "read_sequence"]
