"""Files that a plan names: found beside it, read once, their bytes hashed."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from devices.recorded.errors import RecordedDataError
from devices.recorded.files import read_volume
from guidance.exact import Vector
from guidance.plan.dicom import TreatmentPlan, read_contours, read_rtplan, read_segmentation
from guidance.plan.distance import SignedDistance
from guidance.plan.dose import Dose, read_dose
from guidance.plan.markups import Markup, MarkupsError, read_markups
from guidance.plan.meshes import PolyData, read_surface
from guidance.plan.polygons import contours_to_mask, surface_to_mask
from guidance.plan.schema import ContoursRow, PointInFile, SegmentRow, SurfaceRow
from guidance.plan.segments import Identity, SegmentError, Segments, segments_of
from guidance.plan.shapes import Shape

_T = TypeVar("_T")


class SourceError(ValueError):
    """A file that the plan names and that cannot give what is asked of it."""


class Sources:
    """Reads each file once. `files` maps every path as the plan names it to the SHA-256 of its bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[tuple[str, str], object] = {}
        self.files: dict[str, str] = {}
        self.identities: dict[str, Identity] = {}  # of the files that carry one

    def point(self, row: PointInFile) -> Vector:
        """The one point (3,) RAS mm with that label; of an RTPLAN its isocentre."""
        if row.file.endswith(".dcm"):
            return self._isocenter(row)
        found: list[Vector] = [
            markup.points_mm[n]
            for markup in self.markups(row.file)
            for n, label in enumerate(markup.labels)
            if label == row.label
        ]
        if len(found) != 1:
            raise SourceError(f"{row.file}: {len(found)} points are labelled {row.label!r}, one is needed")
        return found[0]

    def _isocenter(self, row: PointInFile) -> Vector:
        if row.label != "isocenter":
            raise SourceError(f"{row.file}: has no point {row.label!r}; an RTPLAN has an 'isocenter'")
        treatment: TreatmentPlan = self._once("treatment", row.file, read_rtplan)
        self.identities[row.file] = treatment.identity
        if len(treatment.isocenters_mm) != 1:
            raise SourceError(f"{row.file}: has {len(treatment.isocenters_mm)} isocentres, one is needed")
        isocenter: Vector = treatment.isocenters_mm[0]
        return isocenter

    def dose(self, file: str) -> Dose:
        """The planned dose of an RTDOSE."""
        dose: Dose = self._once("dose", file, read_dose)
        if dose.identity is not None:
            self.identities[file] = dose.identity
        return dose

    def line(self, file: str, name: str | None) -> tuple[Vector, Vector]:
        """Entry and target (3,) RAS mm of the one line of that name in a markups file."""
        lines = [m for m in self.markups(file) if m.kind == "Line" and name in (None, m.name)]
        if len(lines) != 1:
            raise SourceError(f"{file}: holds {len(lines)} lines{f' named {name!r}' if name else ''}, one is needed")
        return lines[0].points_mm[0], lines[0].points_mm[1]

    def markups(self, file: str) -> list[Markup]:
        """The markups of a file."""
        return self._once("markups", file, read_markups)

    def segment(self, row: SegmentRow) -> Shape:
        """One segment of a segmentation or label map."""
        segments = self._once("segments", row.file, _read_segments)
        if segments.identity is not None:
            self.identities[row.file] = segments.identity
        try:
            mask = segments.mask(row.name, row.label, row.threshold, row.max_gap_slices)
            return SignedDistance(mask, segments.ras_from_image_mm)
        except (SegmentError, ValueError) as fault:
            raise SourceError(f"{row.file}: {fault}") from fault

    def contours(self, row: ContoursRow) -> Shape:
        """One region of a structure set, or the contours of a .vtp."""
        what = f"region {row.name!r}"
        if row.file.endswith(".vtp"):
            surface = self._once(f"surface:{row.space}", row.file, lambda path: read_surface(path, row.space))
            if ends := sum(int(line[0] != line[-1]) for line in surface.lines):
                raise SourceError(f"{row.file}: {ends} of its {len(surface.lines)} contours are open")
            outlines = [surface.points_mm[line] for line in surface.lines or surface.polygons]
        else:
            outlines, self.identities[f"{row.file} ({row.name})"] = self._once(
                f"contours:{row.name}", row.file, lambda path: read_contours(path, row.name)
            )
        try:
            return SignedDistance(*contours_to_mask(outlines, row.max_gap_slices, what))
        except (SegmentError, ValueError) as fault:
            raise SourceError(f"{row.file}: {fault}") from fault

    def surface(self, row: SurfaceRow) -> Shape:
        """A closed surface."""
        surface: PolyData = self._once(f"surface:{row.space}", row.file, lambda path: read_surface(path, row.space))
        try:
            return SignedDistance(*surface_to_mask(surface.points_mm, surface.triangles(), row.spacing_mm, "surface"))
        except (SegmentError, ValueError) as fault:
            raise SourceError(f"{row.file}: {fault}") from fault

    def hash(self, file: str) -> str:
        """SHA-256 of the file's bytes; SourceError when it is not there."""
        if file not in self.files:
            if not file.isprintable():
                raise SourceError(f"{file!r}: is no name of a file")
            path = self._folder / file
            try:
                if path.exists() and not path.is_file():
                    raise SourceError(f"{file}: is no file")  # a pipe or a device would never end
                with path.open("rb") as opened:
                    self.files[file] = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as fault:
                raise SourceError(f"{file}: cannot be read: {fault.strerror}") from fault
        return self.files[file]

    def _once(self, kind: str, file: str, read: Callable[[Path], _T]) -> _T:
        if (kind, file) not in self._read:
            self.hash(file)
            try:
                self._read[kind, file] = read(self._folder / file)
            except (MarkupsError, SegmentError) as fault:
                raise SourceError(f"{file}: {fault}") from fault
            except RecordedDataError as fault:
                raise SourceError(f"{file}: {fault.field}: {fault.problem}") from fault
        return cast(_T, self._read[kind, file])


def _read_segments(path: Path) -> Segments:
    return read_segmentation(path) if path.suffix == ".dcm" else segments_of(read_volume(path))
