"""Frames: what is packed is what is read, missing stays missing, hot stays hot."""

import json
import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guidance.console.frames import MISSING, Layer, grey, pack, quantised


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and layers by name, by the documented layout and nothing else."""
    length = struct.unpack_from("<I", data)[0]
    header = json.loads(data[4 : 4 + length])
    at, layers = 4 + length, {}
    assert at % 8 == 0
    count = int(np.prod(header["shape"]))
    for row in header["layers"]:
        values = np.frombuffer(data, row["type"], count, at).reshape(header["shape"])
        layers[row["name"]] = (values, row)
        at += values.nbytes + -values.nbytes % 8
    assert at == len(data)
    return header, layers


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.text(max_size=20))
def test_layout_is_the_documented_one(slices: int, rows: int, columns: int, name: str) -> None:
    shape = (slices, rows, columns)
    small = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    large = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    data = pack({"stream": name, "shape": shape}, [Layer("a", small), Layer("b", large)])
    header, layers = unpacked(data)
    assert header["stream"] == name
    assert (layers["a"][0] == small).all() and (layers["b"][0] == large).all()


def test_missing_hot_and_cold_keep_their_meaning() -> None:
    values = np.array([[[37.004, 9e9, -300.0, np.nan, np.inf, 40.0]]], np.float32)
    valid = np.array([[[True, True, True, True, True, False]]])
    layer = quantised("temperature", values, "degC", 0.01, -60.0, valid)
    raw = layer.values[0, 0]
    assert abs(raw[0] * 0.01 - 60.0 - 37.004) <= 0.0051
    assert raw[1] == MISSING - 1 and raw[2] == 0
    assert raw[3] == MISSING and raw[4] == MISSING and raw[5] == MISSING


def test_grey_takes_any_dtype_and_says_its_white() -> None:
    picture = np.linspace(0, 5, 1600, dtype=np.float32).reshape(1, 40, 40)
    layer = grey("magnitude", picture)
    assert layer.values.dtype == np.uint16 and layer.white is not None and 4.5 < layer.white <= 5.0
    assert np.allclose(layer.values * layer.scale + layer.offset, picture, atol=layer.scale)
    assert grey("magnitude", picture.astype(np.uint8)).values.dtype == np.uint8
