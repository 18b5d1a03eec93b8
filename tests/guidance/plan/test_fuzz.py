"""Whatever the bytes: a plan file loads, or is refused by its own error and no other."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from guidance.errors import PlanError
from guidance.plan import load_plan
from guidance.plan.dicom import read_contours, read_rtplan, read_segmentation
from guidance.plan.dose import read_dose
from guidance.plan.markups import MarkupsError, read_markups
from guidance.plan.meshes import read_surface
from guidance.plan.segments import SegmentError

CONFIG = Path(__file__).resolve().parents[3] / "config" / "plans"
WORDS = [b"-", b"9", b"1e9", b"[", b'"', b"nan", b"inf", b"\xff\xff\xff\xff", b"\0", b"."]
ROUNDS = 300


def mutant(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at, kind = chance.randrange(len(changed) + 1), chance.random()
        if kind < 0.5 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif kind < 0.7:
            del changed[at : at + chance.randrange(1, 12)]
        elif kind < 0.9:
            changed[at:at] = chance.choice(WORDS)
        else:
            del changed[at:]
    return bytes(changed)


def check(read: Callable[[Path], object], data: bytes, path: Path, error: type[Exception]) -> None:
    for seed in range(ROUNDS):
        print(f"seed {seed}")  # shown when another error comes out
        path.write_bytes(mutant(data, random.Random(seed)))
        with suppress(error):
            read(path)


@pytest.mark.parametrize("name", ["hifu_liver/plan.toml"])
def test_plans(tmp_path: Path, name: str) -> None:
    check(load_plan, (CONFIG / name).read_bytes(), tmp_path / "plan.toml", PlanError)


@pytest.mark.parametrize("name", ["antenna.mrk.json", "points.fcsv"])
def test_markups(tmp_path: Path, name: str) -> None:
    check(read_markups, (CONFIG / "microwave_liver_us" / name).read_bytes(), tmp_path / name, MarkupsError)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "read"),
    [
        (
            "highdicom/seg_image_ct_binary_overlap.dcm",
            lambda p: read_segmentation(p).mask("first segment", None, 0.5, 9),
        ),
        ("pydicom/rtstruct.dcm", lambda p: read_contours(p, "patient")),
        ("pydicom/rtplan.dcm", read_rtplan),
        ("pydicom/rtdose.dcm", read_dose),
        (
            "slicerrt/TinyPatientStructureSet.seg/TinyPatientStructureSet.seg_0.vtp",
            lambda p: read_surface(p).triangles(),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_files_of_planning_systems(tmp_path: Path, data_dir: Path, name: str, read) -> None:
    data = (data_dir / "plan" / name).read_bytes()
    check(read, data, tmp_path / Path(name).name, SegmentError)
