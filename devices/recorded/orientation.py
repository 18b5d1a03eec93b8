"""Which way an ultrasound image lies relative to its transducer, and turning it.

Two or three letters name the direction in which the column, row and slice index grow (PLUS toolkit,
"Ultrasound image orientation"): M towards the marked side of the transducer or U the unmarked one,
F away from it (far) or N towards it (near), A ascending or D descending across the image planes. Pixels
of calibrated probes are defined in MF: marked side right, near field at the top.
"""

from devices.recorded.volume import Pixels, read_only

_PAIR = {"M": "MU", "U": "MU", "F": "FN", "N": "FN", "A": "AD", "D": "AD"}
# Two letters mean a single plane; the third makes the frame right-handed.
_COMPLETE = {"MF": "MFA", "UF": "UFD", "UN": "UNA", "MN": "MND", "FM": "FMD", "FU": "FUA", "NM": "NMA", "NU": "NUD"}


def complete(orientation: str) -> str:
    """Three letters, one of each pair; ValueError for anything else (XX = unknown to the recorder)."""
    letters = _COMPLETE.get(orientation, orientation)
    if len(letters) != 3 or {_PAIR.get(letter) for letter in letters} != {"MU", "FN", "AD"}:
        raise ValueError(f"{orientation!r} is no known ultrasound image orientation (such as MF, UN or MFA)")
    return letters


def axis_order(recorded: str, wanted: str) -> tuple[int, int, int]:
    """For each wanted image axis (column, row, slice), the recorded axis (0, 1, 2) that it comes from."""
    pairs = [_PAIR[letter] for letter in complete(recorded)]
    first, second, third = (pairs.index(_PAIR[letter]) for letter in complete(wanted))
    return first, second, third


def reorient(frames: Pixels, recorded: str, wanted: str) -> Pixels:
    """`frames` [frame, slice, row, column(, component)] turned from one orientation to another.

    A view where possible, read-only; ValueError where either orientation is unknown. A single plane
    (one slice) given by its first two letters keeps its one slice whatever the third says.
    """
    source, target = complete(recorded), complete(wanted)
    order = axis_order(recorded, wanted)
    axis = {0: 3, 1: 2, 2: 1}  # column, row, slice in the array
    turned = frames.transpose(0, axis[order[2]], axis[order[1]], axis[order[0]], *range(4, frames.ndim))
    flips = [axis[n] for n in range(3) if source[order[n]] != target[n]]
    for dimension in flips:
        if turned.shape[dimension] > 1:
            turned = turned[(slice(None),) * dimension + (slice(None, None, -1),)]
    return turned if turned is frames else read_only(turned)
