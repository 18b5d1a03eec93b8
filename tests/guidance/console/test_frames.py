"""Frames: what is packed is what is read, missing stays missing, hot stays hot."""

import json
import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guidance.console.frames import MISSING, Layer, grey, log_quantised, pack, quantised


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and layers by name, by the documented layout and nothing else."""
    length = struct.unpack_from("<I", data)[0]
    header = json.loads(data[4 : 4 + length])
    at, layers = 4 + length, {}
    assert at % 8 == 0
    for row in header["layers"]:
        box = tuple(slice(*ends) for ends in row["box"] or [(0, end) for end in header["shape"]])
        whole = np.full(header["shape"], row["outside"], row["type"])
        told = np.frombuffer(data, row["type"], whole[box].size, at)
        whole[box] = told.reshape(whole[box].shape)
        layers[row["name"]] = (whole, row)
        at += told.nbytes + -told.nbytes % 8
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


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 8), st.integers(0, 65535)), max_size=4))
def test_a_layer_told_in_its_box_is_the_same(some: list[tuple[int, int, int, int]]) -> None:
    values = np.full((4, 7, 9), MISSING, np.uint16)
    for *at, raw in some:
        values[tuple(at)] = raw
    layer = Layer("temperature", values, missing=True)
    data = pack({"shape": values.shape}, [layer.cut(MISSING), Layer("after", values)])
    _, layers = unpacked(data)
    assert (layers["temperature"][0] == values).all() and (layers["after"][0] == values).all()
    assert layers["temperature"][1]["bytes"] <= values.nbytes


def test_a_dose_that_reads_as_none_is_none() -> None:
    dose = np.array([[[0.0, 0.0099, 0.01, 240.0, 1e30]]], np.float32)
    raw = log_quantised("dose", dose, "log10 min", 0.0002, -4.0, 0.01).values[0, 0]
    assert raw[0] == raw[1] == 0 and raw[4] == MISSING - 1
    assert np.allclose(10.0 ** (raw[2:4] * 0.0002 - 4.0), dose[0, 0, 2:4], rtol=3e-4)


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
