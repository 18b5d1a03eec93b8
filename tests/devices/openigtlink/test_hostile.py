"""Whatever comes: a message or RemoteProtocolError, nothing else, and no memory before the limits are passed."""

import os
import random
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from fastcrc import crc64

from devices.errors import RemoteProtocolError
from devices.openigtlink import Budget, Decoder, Limits, Naming, encode, to_domain
from devices.openigtlink import bodies as b
from devices.openigtlink.header import metadata_from

MUTANTS = int(os.environ.get("GUIDANCE_FUZZ", "100000"))


def frame(
    type_name: str, body: bytes, *, version: int = 1, size: int | None = None, crc: int | None = None, name: str = "Dev"
) -> bytes:
    """Any message, right or wrong."""
    return (
        struct.pack(
            ">H12s20sQQQ",
            version,
            type_name.encode(),
            name.encode(),
            0,
            len(body) if size is None else size,
            crc64.ecma_182(body) if crc is None else crc,
        )
        + body
    )


def image_body(
    size: tuple[int, int, int] = (4, 3, 2),
    part: tuple[int, int, int] | None = None,
    offset: tuple[int, int, int] = (0, 0, 0),
    pixels: bytes | None = None,
    **fields: Any,
) -> bytes:
    head: dict[str, Any] = {"version": 1, "components": 1, "scalar": 3, "endian": 2, "coordinates": 1} | fields
    part = part or size
    matrix = fields.get("matrix", (1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0))
    data = pixels if pixels is not None else bytes(part[0] * part[1] * part[2])
    return (
        struct.pack(
            ">HBBBB3H12f3H3H",
            *(head[key] for key in ("version", "components", "scalar", "endian", "coordinates")),
            *size, *matrix, *offset, *part,
        )
        + data
    )  # fmt: skip


IDENTITY = struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)


def pose_with(position: int, value: float) -> bytes:
    numbers = [1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    numbers[position] = value
    return struct.pack(">12f", *numbers)


def v2(content: bytes, table: bytes = b"\0\0", text: bytes = b"", head: tuple[int, ...] | None = None) -> bytes:
    return struct.pack(">HHII", *(head or (12, len(table), len(text), 0))) + content + table + text


MALFORMED: dict[str, bytes] = {
    "version 0": frame("TRANSFORM", IDENTITY, version=0),
    "version 3": frame("TRANSFORM", IDENTITY, version=3),
    "version 99": frame("TRANSFORM", IDENTITY, version=99),
    "wrong crc": frame("TRANSFORM", IDENTITY, crc=1),
    "no type": frame("", b""),
    "type with a control character": frame("TRANS\nFORM", IDENTITY),
    "name with an escape": frame("TRANSFORM", IDENTITY, name="a\x1b[31m"),
    "name with bytes after its NUL": frame("TRANSFORM", IDENTITY, name="a\0b"),
    "transform of 0 bytes": frame("TRANSFORM", b""),
    "transform of 47 bytes": frame("TRANSFORM", IDENTITY[:-1]),
    "transform of 49 bytes": frame("TRANSFORM", IDENTITY + b"x"),
    "transform with NaN": frame("TRANSFORM", pose_with(4, float("nan"))),
    "transform with infinity": frame("TRANSFORM", pose_with(9, float("inf"))),
    "transform with both infinities": frame("TRANSFORM", pose_with(9, float("-inf"))),
    "position of 16 bytes": frame("POSITION", bytes(16)),
    "position with NaN": frame("POSITION", struct.pack(">7f", 0, 0, float("nan"), 0, 0, 0, 1)),
    "tdata of 69 bytes": frame("TDATA", bytes(69)),
    "tdata of type 0": frame("TDATA", bytes(70)),
    "tdata with NaN": frame("TDATA", b"tool".ljust(20, b"\0") + b"\2\0" + pose_with(3, float("nan"))),
    "image without header": frame("IMAGE", bytes(71)),
    "image of version 3": frame("IMAGE", image_body(version=3)),
    "image of 0 components": frame("IMAGE", image_body(components=0)),
    "image of scalar type 0": frame("IMAGE", image_body(scalar=0)),
    "image of scalar type 8": frame("IMAGE", image_body(scalar=8)),
    "image of byte order 3": frame("IMAGE", image_body(endian=3)),
    "image of coordinates 0": frame("IMAGE", image_body(coordinates=0)),
    "image of 0 rows": frame("IMAGE", image_body(size=(4, 0, 2))),
    "image of 65535 cubed": frame("IMAGE", image_body(size=(65535, 65535, 65535), pixels=b"x")),
    "image one byte short": frame("IMAGE", image_body(pixels=bytes(23))),
    "image one byte long": frame("IMAGE", image_body(pixels=bytes(25))),
    "sub-volume outside": frame("IMAGE", image_body(part=(4, 3, 1), offset=(0, 0, 2))),
    "sub-volume larger": frame("IMAGE", image_body(part=(5, 3, 2))),
    "image matrix with NaN": frame("IMAGE", image_body(matrix=(float("nan"),) * 12)),
    "status of 29 bytes": frame("STATUS", bytes(29)),
    "status with text after NUL": frame("STATUS", bytes(30) + b"a\0b\0"),
    "status not UTF-8": frame("STATUS", bytes(30) + b"\xff\0"),
    "string of 3 bytes": frame("STRING", b"\0\3\0"),
    "string shorter than it says": frame("STRING", struct.pack(">HH", 3, 9) + b"short"),
    "string longer than it says": frame("STRING", struct.pack(">HH", 3, 2) + b"long"),
    "string of an unknown character set": frame("STRING", struct.pack(">HH", 60000, 2) + b"ab"),
    "string not ASCII": frame("STRING", struct.pack(">HH", 3, 2) + b"\xc3\xbc"),
    "capability of 13 bytes": frame("CAPABILITY", bytes(13)),
    "command longer than it says": frame("COMMAND", struct.pack(">I128sHI", 1, b"STOP", 3, 0) + b"x"),
    "command of 4 GiB": frame("COMMAND", struct.pack(">I128sHI", 1, b"STOP", 3, 2**32 - 1)),
    "sensor of 255 values without them": frame("SENSOR", struct.pack(">BBQ", 255, 0, 0)),
    "ndarray of 255 dimensions": frame("NDARRAY", b"\3\xff" + b"\xff\xff" * 255),
    "ndarray of 65535^8": frame("NDARRAY", b"\3\x08" + b"\xff\xff" * 8 + b"x"),
    "ndarray of type 1": frame("NDARRAY", b"\1\1\0\1x"),
    "bind of 65535 children": frame("BIND", b"\xff\xff" + bytes(40)),
    "bind child of 2^63 bytes": frame("BIND", b"\0\1" + b"STRING".ljust(12, b"\0") + b"\x80" + bytes(7) + b"\0\2a\0"),
    "bind without name table": frame("BIND", b"\0\1" + bytes(20)),
    "colour table of type 9": frame("COLORT", b"\x09\x03" + bytes(256)),
    "colour table one byte short": frame("COLORT", b"\x03\x03" + bytes(255)),
    "point of 135 bytes": frame("POINT", bytes(135)),
    "path of type 0": frame("TRAJ", bytes(150)),
    "surface of 2^32 points": frame("POLYDATA", struct.pack(">10I", 2**32 - 1, *([0] * 9))),
    "surface of 2^32 attributes": frame("POLYDATA", struct.pack(">10I", *([0] * 9), 2**32 - 1)),
    "surface with a run that does not end": frame(
        "POLYDATA", struct.pack(">10I", 0, 0, 0, 0, 0, 1, 4, 0, 0, 0) + b"\xff" * 4
    ),
    "surface naming a point that is not there": frame(
        "POLYDATA", struct.pack(">10I", 1, 0, 0, 0, 0, 1, 8, 0, 0, 0) + bytes(12) + struct.pack(">II", 1, 1)
    ),
    "start of tracking without a resolution": frame("STT_TDATA", bytes(35)),
    "start of tracking before now": frame("STT_TDATA", b"\xff" * 4 + bytes(32)),
    "question with a body": frame("GET_IMAGE", b"x"),
    "answer of 2 bytes": frame("RTS_TDATA", b"\0\0"),
    "no extended header": frame("STRING", b"\0\3\0\0", version=2),
    "extended header of 14 bytes": frame("STRING", v2(b"\0\3\0\0", head=(14, 2, 0, 0)), version=2),
    "metadata longer than the body": frame("STRING", v2(b"\0\3\0\0", head=(12, 2, 60000, 0)), version=2),
    "metadata of 65535 keys": frame("STRING", v2(b"\0\3\0\0", table=b"\xff\xff"), version=2),
    "metadata of 65 keys": frame("STRING", v2(b"\0\3\0\0", table=b"\0\x41" + bytes(8 * 65)), version=2),
    "metadata table of one byte": frame("STRING", v2(b"\0\3\0\0", table=b"\0"), version=2),
    "metadata value of 4 GiB": frame(
        "STRING", v2(b"\0\3\0\0", b"\0\1" + struct.pack(">HHI", 1, 3, 2**32 - 1), b"k"), version=2
    ),
    "metadata key twice": frame(
        "STRING", v2(b"\0\3\0\0", b"\0\2" + struct.pack(">HHI", 1, 3, 0) * 2, b"kk"), version=2
    ),
    "metadata key empty": frame("STRING", v2(b"\0\3\0\0", b"\0\1" + struct.pack(">HHI", 0, 3, 1), b"v"), version=2),
    "bytes after the metadata": frame(
        "STRING", v2(b"\0\3\0\0", b"\0\1" + struct.pack(">HHI", 1, 3, 0), b"k!"), version=2
    ),
    "http": b"GET / HTTP/1.1\r\nHost: guidance.local\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(60),
    "zeros": bytes(58),
    "ones": b"\xff" * 58,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_refused_with_a_reason(name: str) -> None:
    decoder = Decoder()
    with pytest.raises(RemoteProtocolError) as first:
        decoder.feed(MALFORMED[name])
    assert str(first.value)
    with pytest.raises(RemoteProtocolError):
        decoder.feed(frame("TRANSFORM", IDENTITY))  # once out of step, never trusted again


def test_the_malformed_table_differs_from_what_passes() -> None:
    """The same builders with right numbers pass: the table above fails for its reasons."""
    for data in (
        frame("TRANSFORM", IDENTITY),
        frame("IMAGE", image_body()),
        frame("IMAGE", image_body(part=(4, 3, 1), offset=(0, 0, 1))),
        frame("STRING", v2(b"\0\3\0\0", b"\0\1" + struct.pack(">HHI", 1, 3, 0), b"k"), version=2),
        frame("TDATA", b"tool".ljust(20, b"\0") + b"\2\0" + IDENTITY),
        frame("POLYDATA", struct.pack(">10I", 1, 0, 0, 0, 0, 1, 8, 0, 0, 0) + bytes(12) + struct.pack(">II", 1, 0)),
        frame("NEWTYPE", b"anything"),
        frame("IMAGE", b""),
    ):
        assert len(Decoder().feed(data)) == 1


def test_messages_before_a_fault_are_returned_and_the_fault_comes_next() -> None:
    decoder = Decoder()
    good = frame("TRANSFORM", IDENTITY)
    assert len(decoder.feed(good + good + MALFORMED["wrong crc"] + good)) == 2
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="CRC"):
            decoder.feed(b"")


LIMITS = [("STATUS", 2**16), ("STRING", 2**16), ("IMAGE", 2**26), ("POINT", 2**20), ("NEWTYPE", 2**20)]


@pytest.mark.parametrize(("type_name", "limit"), LIMITS)
@pytest.mark.parametrize("version", [1, 2])
def test_a_size_over_the_limit_is_refused_before_anything_is_allocated(
    type_name: str, limit: int, version: int
) -> None:
    most = limit if version == 1 else limit + 12 + 2 + 8 * 64 + 65536
    Decoder().feed(frame(type_name, b"", size=most, crc=0, version=version))
    for size in (most + 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1):
        header = frame(type_name, b"", size=size, crc=0, version=version)
        decoder = Decoder()
        tracemalloc.start()
        with pytest.raises(RemoteProtocolError, match="must be"):
            decoder.feed(header)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**16


def test_limits_can_be_set() -> None:
    limits = Limits(image=1000, words=10, other=20)
    with pytest.raises(RemoteProtocolError):
        Decoder(limits).feed(frame("STRING", b"", size=11))
    with pytest.raises(RemoteProtocolError):
        Decoder(limits).feed(frame("IMAGE", b"", size=1001))


def test_half_received_bodies_of_all_peers_share_one_budget() -> None:
    budget = Budget(3 * 2**20)
    header = frame("IMAGE", b"", size=2**20)
    decoders = [Decoder(budget=budget) for _ in range(3)]
    for decoder in decoders:
        assert decoder.feed(header) == []
    assert budget.used == 3 * 2**20
    with pytest.raises(RemoteProtocolError, match="in flight"):
        Decoder(budget=budget).feed(header)
    for decoder in decoders:
        decoder.close()
    assert budget.used == 0


def samples() -> list[bytes]:
    """One valid message of every type, both versions."""
    pixels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    columns = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
    surface = b.PolyData(
        points_mm=np.eye(3, dtype=np.float32),
        vertices=np.array([1, 0], np.uint32),
        lines=np.array([2, 0, 1], np.uint32),
        polygons=np.array([3, 0, 1, 2], np.uint32),
        triangle_strips=np.empty(0, np.uint32),
    )
    child = b.Child("STRING", "note", b"\0\3\0\2hi")
    messages: list[b.Wire] = [
        b.Transform(columns=columns),
        b.Position(position_mm=(1.0, 2.0, 3.0), quaternion=(0.0, 0.0, 0.0, 1.0)),
        b.TrackingData(elements=(b.TrackingElement("ProbeToTracker", columns),)),
        b.QuaternionTrackingData(elements=(b.QuaternionElement("P", (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0)),)),
        b.ImageData(pixels=pixels, columns=columns, size=(4, 3, 2)),
        b.ImageData(pixels=pixels, columns=columns, size=(4, 3, 2), endian=1),
        b.Point(elements=(b.PointElement("target", (1.0, 2.0, 3.0)),)),
        b.Trajectory(elements=(b.TrajectoryElement("path", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),)),
        b.StatusData(code=1, text="fine"),
        b.StringData(data=b'{"type":"reading","values":{"power_w":12.5}}'),
        b.CommandData(command_id=7, name="POWER", data=b'{"power_w": 20, "reason": "plan"}'),
        b.CommandData(command_id=7, name="POWER", data=b'<Command power_w="20"/>', name_of_type="RTS_COMMAND"),
        b.Capability(types=("IMAGE", "TRANSFORM")),
        b.SensorData(values=(1.0, 2.0)),
        b.ArrayData(array=np.arange(6, dtype=np.int16).reshape(2, 3)),
        b.Bind(children=(child, child)),
        b.ColorTable(index_type=3, map_type=3, table=bytes(256)),
        surface,
        b.ImageMeta(elements=(b.ImageMetaElement("t1", "MR", size=(4, 3, 2), scalar_type=3),)),
        b.LabelMeta(elements=(b.LabelMetaElement("liver", "Labels", 7, (1, 2, 3, 255), (4, 3, 2), "MR"),)),
        b.VideoMeta(elements=(b.VideoMetaElement("cine", "US", (4, 3, 1), columns, 3, focal_length_mm=20.0),)),
        b.Query(name_of_type="STT_TDATA", resolution=20, coordinates="Patient"),
        b.Query(name_of_type="GET_BIND", entries=(("STRING", "note"),)),
        b.Answer(name_of_type="RTS_TDATA"),
    ]
    table = metadata_from({"TransformStatus": "OK", "Kind": "guided_pose", "Values": '{"a":1}', "Grüße": "größer"})
    both = []
    for message in messages:
        both.append(b"".join(encode(message)))
        fields = {name: getattr(message, name) for name in message.__struct_fields__} | {"metadata": table}
        both.append(b"".join(encode(type(message)(**fields), header_version=2)))
    return both


def mutate(chance: random.Random, data: bytes) -> bytes:
    """A few wrong bytes, sometimes a cut or a repeated piece; mostly with a right CRC, so that the fault is inside."""
    body = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        position = chance.randrange(len(body)) if chance.random() < 0.7 else chance.randrange(min(len(body), 90))
        body[position] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    kind = chance.random()
    if kind < 0.1:
        del body[chance.randrange(len(body)) :]
    elif kind < 0.2:
        at = chance.randrange(len(body))
        body[at:at] = body[: chance.randrange(64)]
    if chance.random() < 0.85 and len(body) >= 58:
        body[42:50] = struct.pack(">Q", len(body) - 58)
        body[50:58] = struct.pack(">Q", crc64.ecma_182(bytes(body[58:])))
    return bytes(body)


def check_invariants(message: b.Wire) -> None:
    """What every accepted message must be: expressible again, and sound for what stands above."""
    again = b"".join(encode(message))
    assert len(again) == message.wire_bytes
    if isinstance(message, b.ImageData):
        assert message.pixels.dtype.isnative
        assert message.pixels.flags.aligned
        assert not message.pixels.flags.writeable
        assert message.pixels.nbytes < message.wire_bytes
    if isinstance(message, b.Transform):
        assert np.isfinite(message.matrix).all()


def test_mutants_give_a_message_or_a_protocol_error() -> None:
    """10^5 here; GUIDANCE_FUZZ=1000000 (make fuzz) for more. A failure prints the seed and the bytes."""
    seed = int(os.environ.get("GUIDANCE_FUZZ_SEED", "20240611"))
    chance = random.Random(seed)
    seeds = samples()
    naming = Naming()
    accepted = translated = 0
    for number in range(MUTANTS):
        data = mutate(chance, chance.choice(seeds))
        try:
            messages = Decoder().feed(data)
            for message in messages:
                accepted += 1
                check_invariants(message)
                translated += len(to_domain(message, 1, naming))
        except RemoteProtocolError:
            continue
        except Exception as fault:
            fault.add_note(f"seed {seed}, mutant {number}: {data.hex()}")
            raise
    assert MUTANTS * 0.02 < accepted < MUTANTS * 0.9
    assert translated


def test_random_bytes() -> None:
    chance = random.Random(7)
    for _ in range(2000):
        with pytest.raises(RemoteProtocolError):
            Decoder().feed(chance.randbytes(200))


def test_deeply_nested_json_is_no_way_out() -> None:
    for text in (b'{"a":' * 9000, b'{"type":"reading","values":' + b"[" * 9000):
        for message in (
            b.StringData(data=text),
            b.CommandData(command_id=1, name="POWER", data=text),
            b.CommandData(command_id=1, name="POWER", data=b"<a>" * 9000),
        ):
            (decoded,) = Decoder().feed(b"".join(encode(message)))
            try:
                to_domain(decoded, 1, Naming())
            except RemoteProtocolError:
                continue


def test_xml_entities_are_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Command Name="STOP" reason="&b;"/>'
    (decoded,) = Decoder().feed(b"".join(encode(b.CommandData(command_id=1, name="STOP", data=bomb))))
    with pytest.raises(RemoteProtocolError, match="document type"):
        to_domain(decoded, 1, Naming())
