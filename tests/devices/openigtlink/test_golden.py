"""Byte-exact messages of the reference implementation, and what they must mean."""

from pathlib import Path

import numpy as np
import pytest

from devices.errors import RemoteProtocolError
from devices.openigtlink import Decoder, encode
from devices.openigtlink.bodies import BODIES

pytestmark = pytest.mark.data

NAMES = (
    *("bind", "capability", "colortable", "colortable2", "command", "commandFormat2", "image", "imgmeta", "lbmeta"),
    *("ndarray", "point", "polydata", "position", "positionFormat2", "sensor", "status", "string", "tdata"),
    *("tdataFormat2", "trajectory", "trajectoryFormat2", "transform", "transformFormat2", "videometa"),
)


def read(data_dir: Path, name: str) -> bytes:
    return (data_dir / "openigtlink" / f"{name}.bin").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_decodes_and_encodes_to_the_same_bytes(data_dir: Path, name: str) -> None:
    data = read(data_dir, name)
    (message,) = Decoder().feed(data)
    assert message.type_name in BODIES
    assert b"".join(encode(message)) == data
    assert message.wire_bytes == len(data)


@pytest.mark.parametrize("name", NAMES)
def test_every_split_gives_the_same_message(data_dir: Path, name: str) -> None:
    data = read(data_dir, name)
    step = max(1, len(data) // 400)
    for split in {*range(1, 80), *range(1, len(data), step)}:
        decoder = Decoder()
        messages = decoder.feed(data[:split]) + decoder.feed(data[split:])
        assert [b"".join(encode(m)) for m in messages] == [data]
        assert not decoder.in_message


def test_single_bytes_and_many_messages_in_one_piece(data_dir: Path) -> None:
    stream = b"".join(read(data_dir, name) for name in NAMES)
    whole = Decoder().feed(stream)
    assert [m.wire_bytes for m in whole] == [len(read(data_dir, name)) for name in NAMES]
    decoder = Decoder()
    single = [m for i in range(len(stream)) for m in decoder.feed(stream[i : i + 1])]
    assert b"".join(b"".join(encode(m)) for m in single) == stream


@pytest.mark.parametrize("name", NAMES)
def test_every_wrong_byte_is_refused_or_seen(data_dir: Path, name: str) -> None:
    """One flipped bit anywhere in the body fails the CRC; in the header it is refused or changes a name or time."""
    data = bytearray(read(data_dir, name))
    step = max(1, len(data) // 200)
    for position in range(0, len(data), step):
        data[position] ^= 0x10
        decoder = Decoder()
        try:
            messages = decoder.feed(bytes(data))
        except RemoteProtocolError:
            messages = []
        if position >= 58:
            assert not messages
        data[position] ^= 0x10


def test_golden_values(data_dir: Path) -> None:
    """Numbers known from the sources of the reference implementation's tests."""
    (transform,) = Decoder().feed(read(data_dir, "transformFormat2"))
    assert transform.matrix[:3, 3] == pytest.approx([46.0531, 19.4709, 46.0531], abs=1e-4)
    assert np.linalg.det(transform.matrix[:3, :3]) == pytest.approx(1.0, abs=1e-4)
    assert transform.tags == {"First patient age": "22", "Second patient age": "25"}
    assert transform.message_id == 1
    (image,) = Decoder().feed(read(data_dir, "image"))
    assert image.pixels.shape == (1, 50, 50)
    assert (image.coordinates, image.endian) == (1, 2)
    assert not image.pixels.flags.writeable
    (array,) = Decoder().feed(read(data_dir, "ndarray"))
    assert array.array.shape == (5, 4, 3)
    assert array.array.ravel().tolist() == list(range(60))
    (status,) = Decoder().feed(read(data_dir, "status"))
    assert (status.code, status.subcode, status.error_name) == (15, 10, "ACTUATOR_DISABLED")
    (text,) = Decoder().feed(read(data_dir, "string"))
    assert text.text == "Welcome to OpenIGTLink"
