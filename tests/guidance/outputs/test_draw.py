"""Drawing: text, dashes and grey levels as they should look, whatever the place and the type."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.outputs import draw
from guidance.outputs.palette import OUTLINE


def blank(rows: int = 60, columns: int = 200) -> np.ndarray:
    picture = np.full((rows, columns, 4), 90, np.uint8)
    picture[..., 3] = 255
    return picture


def test_text_looks_as_opencv_writes_it():
    ours, theirs = blank(), blank()
    draw.label(ours, "tumour 12.3", (20, 30))
    for shade, thickness in (((0, 0, 0), 3), (OUTLINE["text"], 1)):
        cv2.putText(
            theirs, "tumour 12.3", (20, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (*shade, 255), thickness, cv2.LINE_AA
        )
    off = np.abs(ours.astype(int) - theirs)
    assert off.max() <= 6  # OpenCV rounds at every stroke
    assert (ours[..., 3] == 255).all()
    assert ours[..., :3].max() == max(OUTLINE["text"])


@given(st.floats(-300, 300), st.floats(-300, 300), st.sampled_from(["", "a", "NO TEMPERATURE", "42.0 degC"]))
def test_text_anywhere_stays_in_the_picture(column, row, text):
    picture = blank(20, 40)
    draw.label(picture, text, (column, row))
    assert (picture[..., 3] == 255).all()
    whole = blank(700, 900)
    draw.label(whole, text, (column + 400, row + 350))
    assert np.array_equal(picture, whole[350:370, 400:440])


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_grey_levels_of_any_type(kind):
    image = np.array([[0, 25, 50, 100]], kind)
    grey = draw.grey_rgba(image, 50.0)
    assert grey.dtype == np.uint8
    assert (grey[..., 3] == 255).all()
    assert np.abs(grey[0, :, 0].astype(int) - [0, 127, 255, 255]).max() <= 1


def test_negative_and_unknown_are_black():
    assert draw.grey_rgba(np.array([[-50.0, np.nan, 50.0]], np.float32), 50.0)[0, :, 0].tolist() == [0, 0, 255]
    assert draw.grey_rgba(np.array([[5.0]], np.float32), 0.0)[0, 0, 0] == 0


def test_dashes_go_round_corners_and_leave_gaps():
    picture = np.zeros((120, 120, 4), np.uint8)
    square = np.array([[10, 10], [100, 10], [100, 100], [10, 100], [10, 10]], float)
    draw.dashed(picture, square, "organ_at_risk", dash_px=8.0)
    colour = (picture[..., :3] == OUTLINE["organ_at_risk"]).all(axis=-1)
    along = np.concatenate([colour[10, 10:100], colour[10:100, 100], colour[100, 10:100], colour[10:100, 10]])
    assert 0.35 < along.mean() < 0.75
    runs = np.diff(np.flatnonzero(np.diff(along.astype(int))))
    assert runs.max() <= 16  # a stroke with its round ends
    draw.dashed(picture, np.zeros((2, 2)), "organ_at_risk")  # a line without length draws nothing
