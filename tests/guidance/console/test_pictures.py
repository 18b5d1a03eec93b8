"""What pages are sent as pictures: outlines on planes of their own, video, forecast, the scale of a room."""

import json
import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from guidance.console.desk import _plane
from guidance.console.frames import jpeg, pack
from guidance.console.regions import WINDOW, Regions
from guidance.console.sources import colours
from guidance.console.welcome import welcome
from guidance.core import Core
from guidance.load import config_file, load_room
from guidance.outputs.palette import COLD, MILD, WARM, scale_of, temperature_rgb


def room(name: str) -> Any:
    settings, plan, limits = load_room(config_file("procedures", name))
    return SimpleNamespace(settings=settings, plan=plan, limits=limits)


def test_outlines_on_a_plane_of_the_pages_own_lie_in_that_plane() -> None:
    liver = room("hifu_liver")
    regions = Regions(liver.plan, liver.settings)
    at = np.array([78.0, 0.0, 0.0])
    columns, rows = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])
    plane = _plane({"columns": columns.tolist(), "rows": rows.tolist()}, at)
    middle = plane @ [(WINDOW - 1) / 2, (WINDOW - 1) / 2, 0, 1]
    assert np.allclose(middle[:3], at)
    lines = regions.outlines(at, {"own": plane})["own"]
    assert "tumour" in {row["name"] for row in lines}
    points = np.vstack([row["ras"] for row in lines])
    assert np.abs((points - at) @ np.cross(columns, rows)).max() < 0.02


@pytest.mark.parametrize("wrong", [[1, 0.1, 0], [2, 0, 0], [0, 1, 0]])
def test_directions_that_are_no_plane_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="right angle"):
        _plane({"columns": wrong, "rows": [0, 1, 0]}, np.zeros(3))


def test_planes_of_a_gated_room_show_the_gate() -> None:
    linac = room("mrlinac_gating")
    rows = Regions(linac.plan, linac.settings).outlines(linac.plan.targets[0].center_mm)
    assert all("gate" in {row["role"] for row in view} for view in rows.values())


def test_video_keeps_its_colours_and_says_its_bytes() -> None:
    pixels = np.zeros((1, 32, 48, 3), np.uint8)
    pixels[..., 0] = 200
    layer = jpeg(colours(pixels))
    data = pack({"stream": "Camera", "shape": (1, 32, 48)}, [layer])
    length = struct.unpack_from("<I", data)[0]
    row = json.loads(data[4 : 4 + length])["layers"][0]
    assert row["type"] == "jpeg" and row["bytes"] == layer.values.nbytes
    picture = cv2.imdecode(np.frombuffer(data, np.uint8, row["bytes"], 4 + length), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (32, 48, 3)
    blue, green, red = picture[16, 24]
    assert red > 180 and green < 30 and blue < 30
    assert colours(np.zeros((1, 8, 8), np.uint8)).shape == (8, 8)


def test_the_cold_scale_is_the_warm_one_mirrored() -> None:
    rooms = {"cryo_kidney": COLD, "hyperthermia_release": MILD, "hifu_liver": WARM, "stereotactic_brain": WARM}
    assert all(scale_of(room(name).settings) is scale for name, scale in rooms.items())
    warm = temperature_rgb(np.linspace(WARM.low_c, WARM.high_c, 64, dtype=np.float32))
    cold = temperature_rgb(np.linspace(COLD.high_c, COLD.low_c, 64, dtype=np.float32), COLD)
    assert np.abs(warm.astype(int) - cold[:, ::-1]).max() <= 8, "the same steps of brightness, red and blue exchanged"


def test_welcome_tells_the_scale_and_the_gate() -> None:
    linac = room("mrlinac_gating")
    core = Core(linac.settings, linac.plan, linac.limits)
    told = welcome(core, Regions(linac.plan, linac.settings))
    assert told["gating"] == linac.settings.gating.boundary_mm
    assert told["scale"]["ends_c"] == (37.0, 60.0) and not told["scale"]["cold"] and len(told["scale"]["rgb"]) == 256
