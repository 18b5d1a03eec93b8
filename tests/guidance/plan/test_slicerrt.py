"""The Eclipse prostate plan against SlicerRT's own expansions and dose-volume tables."""

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest

from devices.recorded.files import read_volume
from guidance.plan import Grown, SignedDistance
from guidance.plan.dose import Dose, dose_volume, read_dose
from guidance.plan.meshes import read_surface
from guidance.plan.polygons import contours_to_mask
from guidance.plan.raster import mask
from guidance.plan.segments import SegmentError
from guidance.plan.shapes import signed_distance_mm

pytestmark = pytest.mark.data

NUMBER = {"Bladder": 1, "Femoral Head Lt": 2, "Femoral Head RT": 3, "PTV": 4, "Rectum": 5}


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    return data_dir / "plan" / "slicerrt"


@pytest.fixture(scope="module")
def shapes(folder: Path) -> dict[str, SignedDistance]:
    found = {}
    for name, number in NUMBER.items():
        file = folder / "EclipseProstate_Structures.seg" / f"EclipseProstate_Structures.seg_{number}.vtp"
        surface = read_surface(file, "RAS")
        found[name] = SignedDistance(*contours_to_mask([surface.points_mm[line] for line in surface.lines], 0, name))
    return found


@pytest.mark.parametrize(
    ("file", "name", "margin_mm"),
    [
        ("Expanded_5_5_5_Bladder", "Bladder", 5),
        ("Shrunk_5_5_5_Bladder", "Bladder", -5),
        ("Expanded_5_5_5_Rectum", "Rectum", 5),
    ],
)
def test_margins(folder: Path, shapes, file: str, name: str, margin_mm: float) -> None:
    volume = read_volume(folder / f"EclipseProstate_{file}.seg.nrrd")
    baseline = volume.pixels[..., 0] > 0
    geometry = np.ascontiguousarray(volume.ras_from_image_mm)
    grown = Grown(shapes[name], margin_mm)
    ours = mask(grown, geometry, baseline.shape)
    assert ours.sum() == pytest.approx(baseline.sum(), rel=0.01)
    assert 2 * (ours & baseline).sum() / (ours.sum() + baseline.sum()) > 0.99
    padded, faces = np.pad(baseline, 1), []
    for axis in range(3):
        face = np.argwhere(np.diff(padded, axis=axis)).astype(float) - 1
        face[:, axis] += 0.5
        faces.append(face[:, ::-1])
    surface = np.concatenate(faces) @ geometry[:3, :3].T + geometry[:3, 3]
    half_voxel = 0.5 * float(np.sqrt((geometry[:3, :3] ** 2).sum(axis=0)).min())
    assert np.abs(signed_distance_mm(grown, surface)).mean() <= half_voxel


def test_dose_volume_tables(folder: Path, shapes) -> None:
    dose = Dose.from_volume(read_volume(folder / "EclipseProstate_Dose.nrrd"))
    metrics = (folder / "EclipseProstate_DvhMetrics_SlicerRT.csv").read_text().splitlines()
    rows = {row["Structure"]: row for row in csv.DictReader(metrics)}
    table = list(csv.reader((folder / "EclipseProstate_DvhTable_SlicerRT.csv").read_text().splitlines()))
    for name, shape in shapes.items():
        found = dose_volume(dose, shape)
        assert found.volume_cc == pytest.approx(float(rows[name]["Volume (cc)"]), rel=0.01)
        assert found.mean_gy == pytest.approx(float(rows[name]["Mean dose (GY)"]), abs=0.05)
        assert 100 * found.share_above(20) == pytest.approx(float(rows[name]["V20 (%)"]), abs=0.5)
        assert found.dose_to(0.10) == pytest.approx(float(rows[name]["D10% (GY)"]), abs=0.1)
        column = next(n for n, title in enumerate(table[0]) if title.startswith(f"{name} Dose"))
        pairs = [
            (float(r[column]), float(r[column + 1])) for r in table[1:] if len(r) > column + 1 and r[column].strip()
        ]
        misses = [abs(100 * found.share_above(gray) - share) for gray, share in pairs]
        assert np.mean(misses) < 0.2 and max(misses) < 1.0, name


def test_a_dose_in_other_units_is_refused(data_dir: Path) -> None:
    with pytest.raises(SegmentError, match="is in RELATIVE, only GY is read"):
        read_dose(data_dir / "plan" / "pydicom" / "rtdose.dcm")
    with pytest.raises(SegmentError, match="is not a DICOM"):
        read_dose(data_dir / "plan" / "pydicom" / "rtstruct.dcm")


def test_a_dose_file(data_dir: Path, tmp_path: Path) -> None:
    data = pydicom.dcmread(data_dir / "plan" / "pydicom" / "rtdose.dcm")
    data.DoseUnits = "GY"
    data.save_as(tmp_path / "dose.dcm")
    dose = read_dose(tmp_path / "dose.dcm")
    position = np.array(data.ImagePositionPatient, float) * [-1, -1, 1]
    first = float(data.pixel_array[0, 0, 0]) * float(data.DoseGridScaling)
    assert dose.at(position[None])[0] == pytest.approx(first)
    far = dose.ras_from_image @ [9, 9, 14, 1]
    assert dose.at(far[None, :3])[0] == pytest.approx(float(data.pixel_array[14, 9, 9]) * float(data.DoseGridScaling))
    assert dose.at(far[None, :3] + 1e4)[0] == 0.0
