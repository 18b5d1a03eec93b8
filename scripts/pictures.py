"""Pictures of the docs that need no browser: a procedure in virtual time, its four views at a moment, as PNG.

.venv/bin/python scripts/pictures.py hifu_liver 16 docs/pictures/hifu_liver.png
A fourth argument shows only the middle, so many times larger: scripts/pictures.py laser_brain 100 FILE 3
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from devices.messages import Overlay
from guidance.events import Send
from guidance.replay import Replayer
from guidance.trial import run_trial

SIDE = 400
MOST_BYTES = 300_000
ORDER = ("axial", "coronal", "sagittal", "frame")


def views_at(recording: Path, at_s: float) -> dict[str, np.ndarray]:
    """The newest overlay of each view at `at_s` seconds of the session, RGBA."""
    newest: dict[str, np.ndarray] = {}
    first_ns = 0
    for event, effects, _ in Replayer(recording).steps():
        first_ns = first_ns or event.now_ns
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Overlay):
                newest[effect.message.view] = effect.message.rgba
        if event.now_ns - first_ns > at_s * 1e9:
            break
    return newest


def montage(views: dict[str, np.ndarray], zoom: float = 1.0) -> np.ndarray:
    """The middle of all views side by side, BGR."""
    tiles = []
    for name in (name for name in ORDER if name in views):
        picture = cv2.cvtColor(views[name], cv2.COLOR_RGBA2BGR)
        cut = [round(0.5 * size * (1.0 - 1.0 / zoom)) for size in picture.shape[:2]]
        picture = picture[cut[0] : picture.shape[0] - cut[0], cut[1] : picture.shape[1] - cut[1]]
        height = round(SIDE * picture.shape[0] / picture.shape[1])
        shrink = cv2.INTER_AREA if picture.shape[1] > SIDE else cv2.INTER_NEAREST
        tile = cv2.resize(picture, (SIDE, height), interpolation=shrink)[:SIDE]
        tiles.append(cv2.copyMakeBorder(tile, 0, SIDE - tile.shape[0], 0, 0, cv2.BORDER_CONSTANT))
    return np.hstack(tiles)


def save(picture: np.ndarray, target: str) -> None:
    """As PNG of as many colours as stay below `MOST_BYTES`: speckle does not compress."""
    whole = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    for colours in (256, 128, 64, 32, 16):
        few = whole.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(target, optimize=True)
        if Path(target).stat().st_size <= MOST_BYTES:
            return


def main(procedure: str, at_s: str, target: str, zoom: str = "1") -> None:
    """Make one picture."""
    with tempfile.TemporaryDirectory() as folder:
        row = run_trial(procedure, 1, float(at_s) + 1.0, Path(folder))
        save(montage(views_at(Path(row["recording"]), float(at_s)), float(zoom)), target)
    print(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
