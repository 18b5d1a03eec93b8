"""Paints a gating target on a real cine series: an ellipse as a label map in the series' own space, into a plan.

.venv/bin/python scripts/paint_target.py SERIES.mha config/plans/cine_ks81 COLUMN ROW HALF_COLUMNS HALF_ROWS

The ellipse belongs to the position that the service takes as its reference (the most frequented one among the first
60 frames); its number and a picture are printed for a look. Only outlines go into the plan, never pixels of the images.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk

from devices.recorded.files import read_series
from guidance.motion.keyframe import most_frequented

PLAN = """# A target painted on a real cine series by scripts/paint_target.py; for trying out gating, not for treatment.
schema_version = 1
name = "{name}"
patient_id = "{patient}"
frame_of_reference_uid = "{uid}"
coordinates = "RAS"
unit = "mm"
laterality = "right"

[[targets]]
name = "target"
center_mm = [{r:.2f}, {a:.2f}, {s:.2f}]
structure = "target"
margin_mm = 3.0

[[structures]]
name = "target"
role = "target"
tissue = "liver"
shape = {{ kind = "segment", file = "target.nrrd", label = 1 }}
"""


def main(series_path: str, folder: str, *ellipse: str) -> None:
    """Write `target.nrrd` and `plan.toml` into `folder`."""
    column, row, half_columns, half_rows = (float(v) for v in ellipse)
    series = read_series(Path(series_path), kind="auto", period_s=None, assume_space=None)
    planes = [frame[0] for frame in series.frames[:60]]
    chosen = most_frequented(planes)
    y, x = np.mgrid[: planes[0].shape[0], : planes[0].shape[1]]
    inside = (((x - column) / half_columns) ** 2 + ((y - row) / half_rows) ** 2) <= 1
    ras = series.frame_from_image_mm[0]
    stack = np.repeat(inside[None].astype(np.uint8), 3, axis=0)  # as thick as the slice and its neighbours
    label = sitk.GetImageFromArray(stack)
    flip = np.diag([-1.0, -1.0, 1.0])
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    label.SetSpacing(spacing.tolist())
    label.SetDirection((flip @ ras[:3, :3] / spacing).ravel().tolist())
    label.SetOrigin((flip @ (ras[:3, 3] - ras[:3, 2])).tolist())
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(label, str(out / "target.nrrd"), useCompression=True)
    centre = (ras @ [column, row, 0.0, 1.0])[:3]
    name = out.name.replace("_", "-")
    uid = "2.25." + str(int.from_bytes(name.encode(), "big"))
    (out / "plan.toml").write_text(
        PLAN.format(name=name, patient=name.upper(), uid=uid, r=centre[0], a=centre[1], s=centre[2]), encoding="utf-8"
    )
    frame = planes[chosen].astype(np.float32)
    grey = np.clip(frame * (255 / np.percentile(frame, 99.5)), 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(cv2.resize(grey, None, fx=4, fy=4), cv2.COLOR_GRAY2BGR)
    edges, _ = cv2.findContours(
        cv2.resize(inside.astype(np.uint8), None, fx=4, fy=4), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(picture, edges, -1, (120, 250, 120), 1)
    cv2.imwrite(f"/tmp/{name}.png", picture)
    print(f"reference: frame {chosen}; picture: /tmp/{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
