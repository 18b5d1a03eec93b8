"""Recordings of real devices: read into arrays with geometry, and played as peers.

Readers (one face, `read_volume` and `read_series`; also used for plans):

| kind      | files                       | notes                                                            |
|-----------|-----------------------------|------------------------------------------------------------------|
| metaimage | .mha .mhd                   | LPS; raw or zlib; PLUS sequences (.igs.mha); cine by a JSON beside |
| nrrd      | .nrrd .nhdr .seg.nrrd       | RAS, LAS, LPS; raw, gzip, bzip2; segmentations keep their key-values |
| nifti     | .nii .nii.gz                | RAS; BIDS JSON beside gives tags and times                        |
| dicom     | .dcm .ima .dicom, a folder  | classic, enhanced, RT dose, XA and US cine                        |
| fieldmap  | a folder with *_phasediff   | two magnitudes + phase difference as complex images               |

Peers, named in scenarios by dotted path: `SequencePeer` (tracker and ultrasound), `SeriesPeer` (scanner),
`MarkerPeer` (respiratory markers). They own no clock and no socket; `sim` and the virtual room drive them.

LPS becomes RAS at this door, once. A file that is cut, corrupt, too large or silent on its
patient space raises `RecordedDataError`, which names the file and the field.
"""

from devices.recorded.errors import RecordedDataError
from devices.recorded.files import KINDS, find, read_series, read_volume
from devices.recorded.markers import MarkerPeer, Markers, read_markers
from devices.recorded.sequence import Sequence, read_sequence
from devices.recorded.sequence_peer import SequencePeer
from devices.recorded.series_peer import SeriesPeer
from devices.recorded.volume import Limits, Series, Volume

__all__ = [
    "KINDS",
    "Limits",
    "MarkerPeer",
    "Markers",
    "RecordedDataError",
    "Sequence",
    "SequencePeer",
    "Series",
    "SeriesPeer",
    "Volume",
    "find",
    "read_markers",
    "read_sequence",
    "read_series",
    "read_volume",
]
