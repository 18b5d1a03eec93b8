"""Messages of the room go over the wire and come back; names and places mean what the field means by them."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import messages as m
from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.openigtlink import Decoder, Naming, encode, to_domain, to_wire
from devices.openigtlink import bodies as b
from devices.openigtlink.answers import bundle, quaternion_from_matrix
from devices.openigtlink.header import metadata_from, ns_from_timestamp, timestamp_from_ns
from devices.openigtlink.incoming import matrix_from_quaternion
from devices.openigtlink.naming import quality_of
from devices.quality import Quality

NOW = 1_700_000_000_123_456_789


def over_the_wire(message: m.AnyMessage, version: int, naming: Naming | None = None) -> list[m.AnyMessage]:
    """Encode, cut in two, decode, translate."""
    data = b"".join(bytes(part) for wire in to_wire(message, version) for part in encode(wire))
    decoder = Decoder()
    cut = len(data) // 2
    wires = decoder.feed(data[:cut]) + decoder.feed(data[cut:])
    return [found for wire in wires for found in to_domain(wire, NOW, naming or Naming())]


def receive(wire: b.Wire, naming: Naming | None = None) -> list[Any]:
    (decoded,) = Decoder().feed(b"".join(encode(wire)))
    return to_domain(decoded, NOW, naming or Naming())


def assert_same(sent: m.AnyMessage, got: m.AnyMessage) -> None:
    """Every field equal, receive time stamped, matrices to float32."""
    assert type(got) is type(sent)
    assert got.receive_time_ns == NOW
    for name in sent.__struct_fields__:
        expected, found = getattr(sent, name), getattr(got, name)
        if name == "receive_time_ns":
            continue
        if isinstance(expected, np.ndarray):
            exact = name in ("pixels", "rgba")
            assert found.shape == expected.shape
            if exact:
                assert found.dtype == expected.dtype.newbyteorder("=")
                assert found.dtype.isnative
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-3)
        else:
            assert found == expected, name


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


NAMES = st.from_regex(r"[A-Z][a-z0-9]{0,9}", fullmatch=True).filter(lambda name: "To" not in name)
TIMES = st.integers(0, 4_000_000_000 * 10**9)
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=60)
NUMBERS = st.floats(-1e4, 1e4, allow_nan=False, width=32)
VALUES = st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.floats(-1e9, 1e9), max_size=5)
EVIDENCE = st.dictionaries(NAMES, st.integers(0, 2**62), max_size=4)
QUALITIES = st.sampled_from(Quality)


@st.composite
def matrices(draw: st.DrawFn, spacing: bool = False) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(draw(st.integers(0, 10**6)))
    if spacing:
        matrix[:3, :3] *= draw(st.tuples(*[st.floats(0.1, 5.0)] * 3))
    matrix[:3, 3] = draw(st.tuples(NUMBERS, NUMBERS, NUMBERS))
    return matrix


@st.composite
def images(draw: st.DrawFn) -> m.Image:
    dtype = draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "c8", "c16", ">i2", ">f4"]))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)))
    if dtype in ("u1", "f4") and draw(st.booleans()):
        shape = (*shape, draw(st.sampled_from([3, 4])))
    pixels = (np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape) * 50).astype(dtype)
    if dtype.startswith("c"):
        pixels = pixels * (1 + 2j)
        pixels = pixels.astype(dtype)
    return m.Image(
        name=draw(NAMES), device_time_ns=draw(TIMES), pixels=pixels, frame=draw(NAMES),
        frame_from_image_mm=draw(matrices(spacing=True)), quality=draw(QUALITIES), number=draw(st.integers(-1, 10**9)),
        tags=draw(st.dictionaries(st.from_regex(r"[A-Z][A-Za-z_]{0,15}_x", fullmatch=True), TEXTS, max_size=3)),
    )  # fmt: skip


@st.composite
def poses(draw: st.DrawFn) -> m.Pose:
    moving, fixed = draw(NAMES), draw(NAMES)
    name = draw(st.sampled_from([f"{moving}To{fixed}", moving, "a name of more than twenty bytes"]))
    return m.Pose(
        name=name, device_time_ns=draw(TIMES), moving=moving, fixed=fixed, fixed_from_moving=draw(matrices()),
        quality=draw(QUALITIES), number=draw(st.integers(-1, 10**15)),
    )  # fmt: skip


def simple(message: type[Any], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(message, name=NAMES, device_time_ns=TIMES, **fields)


MESSAGES: dict[str, st.SearchStrategy[Any]] = {
    "pose": poses(),
    "image": images(),
    "guided_pose": simple(
        m.GuidedPose, tool=NAMES, ras_from_tool=matrices(), quality=QUALITIES, values=VALUES, evidence=EVIDENCE
    ),
    "overlay": simple(
        m.Overlay, view=NAMES, rgba=st.just(np.arange(60, dtype=np.uint8).reshape(3, 5, 4)),
        ras_from_image_mm=matrices(spacing=True), quality=QUALITIES, evidence=EVIDENCE,
    ),
    "points": st.lists(st.tuples(NAMES, NUMBERS, NUMBERS, NUMBERS), max_size=4).flatmap(
        lambda rows: simple(
            m.Points, frame=NAMES, labels=st.just(tuple(row[0] for row in rows)),
            positions_mm=st.just(np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 3)),
        )
    ),
    "status": simple(
        m.Status, code=st.integers(0, 19), subcode=st.integers(-(2**63), 2**63 - 1), error_name=NAMES, text=TEXTS
    ),
    "text": simple(m.Text, text=TEXTS.filter(lambda text: not text.startswith("{"))),
    "reading": simple(m.Reading, values=VALUES),
    "metrics": simple(m.Metrics, values=VALUES, quality=QUALITIES, evidence=EVIDENCE),
    "alert": simple(
        m.Alert, room=NAMES, priority=st.sampled_from(m.Priority), kind=st.sampled_from(m.AlertKind),
        state=st.sampled_from(["active", "acknowledged", "latched", "cleared"]), text=TEXTS, reaction=TEXTS,
        advice=TEXTS, first_ns=TIMES, value=st.none() | st.floats(-100, 100), limit=st.none() | st.floats(-100, 100),
        unit=TEXTS, sequence=st.integers(0, 10**9), evidence=EVIDENCE,
    ),
    "command": simple(
        m.Command, command_id=st.integers(0, 2**32 - 1), verb=st.sampled_from(["STOP", "POWER", "SET_FOCUS"]),
        values=VALUES.map(lambda values: {k: v for k, v in values.items() if k != "reason"}), reason=TEXTS,
    ),
    "acknowledgement": simple(
        m.Acknowledgement, command_id=st.integers(0, 2**32 - 1), verb=st.just("STOP"), done=st.booleans(), text=TEXTS
    ),
    "unknown": simple(m.Unknown, type_name=st.just("NEWTYPE"), body=st.binary(max_size=99)),
}  # fmt: skip
FULLY_IN_VERSION_1 = ("status", "text", "reading", "metrics", "alert", "command", "acknowledgement", "unknown")


@pytest.mark.parametrize("kind", MESSAGES)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_message_comes_back_whole_over_version_2(kind: str, data: st.DataObject) -> None:
    sent = data.draw(MESSAGES[kind])
    (got,) = over_the_wire(sent, 2)
    assert_same(sent, got)


@pytest.mark.parametrize("kind", FULLY_IN_VERSION_1)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_words_and_numbers_come_back_whole_over_version_1(kind: str, data: st.DataObject) -> None:
    sent = data.draw(MESSAGES[kind])
    got = over_the_wire(sent, 1)[-1]  # an alert is a STATUS for plain viewers, then itself
    assert_same(sent, got)


def test_every_kind_of_message_is_in_the_table() -> None:
    tags = {kind.__struct_config__.tag for kind in m.AnyMessage.__args__}
    only_told = {"paths", "outlines"}  # a TRAJ comes back as Points, a POLYDATA as Unknown
    assert tags == set(MESSAGES) | only_told


@pytest.mark.parametrize("version", [1, 2])
def test_paths_and_outlines_are_trajectories_and_lines_on_the_wire(version: int) -> None:
    ends = np.arange(12.0).reshape(2, 2, 3)
    paths = m.Paths(name="needles", frame="RAS", labels=("a", "b"), ends_mm=ends, radii_mm=np.array([1.5, 2.5]))
    (trajectory,) = Decoder().feed(b"".join(bytes(part) for part in encode(*to_wire(paths, version))))
    assert [(e.name, e.entry_mm, e.target_mm, e.radius_mm) for e in trajectory.elements] == [  # type: ignore[attr-defined]
        ("a", (0, 1, 2), (3, 4, 5), 1.5), ("b", (6, 7, 8), (9, 10, 11), 2.5),
    ]  # fmt: skip
    counts = np.array([3, 2], np.int32)
    outlines = m.Outlines(name="liver", frame="RAS", points_mm=np.arange(15.0).reshape(5, 3), counts=counts)
    (surface,) = Decoder().feed(b"".join(bytes(part) for part in encode(*to_wire(outlines, version))))
    assert surface.lines.tolist() == [3, 0, 1, 2, 2, 3, 4]  # type: ignore[attr-defined]
    assert surface.points_mm.tolist() == outlines.points_mm.tolist()  # type: ignore[attr-defined]


def test_an_alert_reaches_a_plain_version_1_viewer_as_status_and_string() -> None:
    alert = m.Alert(
        name="T1.rib-4", room="or-1", priority=m.Priority.HIGH, kind=m.AlertKind.PHYSIOLOGICAL, state="active",
        text="Rib 4 too hot", reaction="STOP", advice="wait", first_ns=5, sequence=9,
    )  # fmt: skip
    status, text = to_wire(alert, 1)
    assert (status.type_name, status.code, status.error_name) == ("STATUS", 3, "HIGH")
    assert (status.device_name, status.text, status.subcode) == ("T1.rib-4", "Rib 4 too hot", 9)
    assert (text.type_name, text.device_name) == ("STRING", "Alert")
    cleared, _ = to_wire(msgspec.structs.replace(alert, state="cleared"), 1)
    assert (cleared.code, cleared.error_name) == (1, "CLEARED")


@pytest.mark.parametrize("kind", ["pose", "image", "guided_pose", "overlay"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_what_is_not_ok_is_withheld_from_version_1(kind: str, data: st.DataObject) -> None:
    """Version 1 cannot say INVALID: such a pose must not be taken for live."""
    sent = data.draw(MESSAGES[kind])
    bad = msgspec.structs.replace(sent, quality=Quality.INVALID)
    with pytest.raises(LocalProtocolError, match="withheld"):
        to_wire(bad, 1)


@given(TIMES)
def test_times_survive_to_the_nanosecond(time_ns: int) -> None:
    assert ns_from_timestamp(timestamp_from_ns(time_ns)) == time_ns


NAME_ROWS = [
    ("StylusToTracker", "Stylus", "Tracker"),
    ("StylusTipToReference", "StylusTip", "Reference"),
    ("ToolToTracker", "Tool", "Tracker"),
    ("Stylus", "Stylus", "Polaris"),
    ("Channel 0", "Channel 0", "Polaris"),
    ("Torso", "Torso", "Polaris"),
    ("ImageTo", "ImageTo", "Polaris"),
]


@pytest.mark.parametrize(("name", "moving", "fixed"), NAME_ROWS)
def test_transform_names(name: str, moving: str, fixed: str) -> None:
    columns = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 7.0, 8.0, 9.0)
    (pose,) = receive(b.Transform(device_name=name, columns=columns), Naming(pose_frame="Polaris"))
    assert (pose.moving, pose.fixed) == (moving, fixed)
    assert pose.fixed_from_moving[:3, 3].tolist() == [7.0, 8.0, 9.0]
    assert pose.quality is Quality.OK


STATUS_ROWS = [
    ("OK", Quality.OK), ("ok", Quality.OK), ("MISSING", Quality.MISSING), ("OUT_OF_VIEW", Quality.MISSING),
    ("OUT_OF_VOLUME", Quality.INVALID), ("INVALID", Quality.INVALID), ("UNKNOWN", Quality.INVALID),
    ("something new", Quality.INVALID), ("", Quality.INVALID), ("SUSPECT", Quality.SUSPECT),
]  # fmt: skip


@pytest.mark.parametrize(("status", "quality"), STATUS_ROWS)
def test_statuses_of_plus(status: str, quality: Quality) -> None:
    for key in ("TransformStatus", "Status", "ProbeToTrackerTransformStatus"):
        columns = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
        wire = b.Transform(
            device_name="ProbeToTracker", columns=columns, header_version=2, metadata=metadata_from({key: status})
        )
        assert receive(wire)[0].quality is quality
    assert quality_of({"TransformValid": "false"}, "TransformStatus", "TransformValid") is Quality.INVALID
    assert quality_of({"TransformValid": "true"}, "TransformStatus", "TransformValid") is Quality.OK


def test_a_long_name_comes_whole_by_the_convention_of_plus() -> None:
    columns = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
    wire = b.Transform(
        device_name="LongNeedleTipToRefer", columns=columns, header_version=2,
        metadata=metadata_from({"IGTL_DEVICE_NAME": "LongNeedleTipToReference"}),
    )  # fmt: skip
    (pose,) = receive(wire)
    assert (pose.name, pose.moving, pose.fixed) == ("LongNeedleTipToReference", "LongNeedleTip", "Reference")
    with pytest.raises(LocalProtocolError, match="over 20 bytes"):
        to_wire(pose, 1)


@pytest.mark.parametrize("subject", ["TDATA", "QTDATA"])
def test_bundles_say_every_tools_name_and_quality(subject: str) -> None:
    tools = []
    for index, name in enumerate(("StylusToTracker", "LongNeedleTipToReference", "LongNeedleTipToReferee")):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(index)
        matrix[:3, 3] = index, 2, 3
        moving, fixed = name.split("To", 1)
        quality = Quality.OK if index else Quality.INVALID
        tools.append(m.Pose(name=name, moving=moving, fixed=fixed, fixed_from_moving=matrix, quality=quality))
    found = receive(bundle(subject, "Tools", tools, 2))
    assert [(p.name, p.moving, p.fixed, p.quality) for p in found] == [
        (p.name, p.moving, p.fixed, p.quality) for p in tools
    ]
    for sent, got in zip(tools, found, strict=True):
        np.testing.assert_allclose(got.fixed_from_moving, sent.fixed_from_moving, atol=1e-6)
    assert receive(bundle(subject, "Tools", tools, 1)) == []  # not OK or too long a name: withheld


@given(st.integers(0, 10**6), st.sampled_from([None, 0, 1, 2]))
def test_quaternions(seed: int, half_turn: int | None) -> None:
    """Also half turns, where the real part is zero."""
    matrix = np.eye(4)
    if half_turn is None:
        matrix[:3, :3] = rotation(seed)
    else:
        matrix[:3, :3] = -np.eye(3)
        matrix[half_turn, half_turn] = 1.0
    q = quaternion_from_matrix(matrix)
    np.testing.assert_allclose(matrix_from_quaternion((0, 0, 0), q, "test")[:3, :3], matrix[:3, :3], atol=1e-12)
    half = tuple(np.multiply(q, np.copysign(1.0, q[3])))[:3]  # the short form leaves the real part out
    np.testing.assert_allclose(matrix_from_quaternion((0, 0, 0), half, "test")[:3, :3], matrix[:3, :3], atol=1e-6)


@pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (9.0, 0.0, 0.0, 0.0), (0.9, 0.9, 0.9)])
def test_a_quaternion_that_is_no_rotation_is_refused(quaternion: tuple[float, ...]) -> None:
    with pytest.raises(RemoteProtocolError, match="quaternion"):
        receive(b.Position(device_name="P", position_mm=(0.0, 0.0, 0.0), quaternion=quaternion))


def test_a_position_without_orientation_is_a_point() -> None:
    (points,) = receive(b.Position(device_name="TipToTracker", position_mm=(1.0, 2.0, 3.0)))
    assert (points.labels, points.frame, points.positions_mm.tolist()) == (("Tip",), "Tracker", [[1.0, 2.0, 3.0]])


# An image whose every place is known: 5 x 4 x 3 voxels of 2 x 3 x 4 mm, centre at (10, 20, 30).
AXES = (2.0, 0, 0, 0, 3.0, 0, 0, 0, 4.0, 10.0, 20.0, 30.0)


@pytest.mark.parametrize(("coordinates", "sign"), [(1, 1.0), (2, -1.0)])
def test_golden_points_of_an_image(coordinates: int, sign: float) -> None:
    pixels = np.zeros((3, 4, 5), np.uint8)
    (image,) = receive(
        b.ImageData(device_name="ct", pixels=pixels, columns=AXES, size=(5, 4, 3), coordinates=coordinates)
    )
    for index, lps_or_ras in [
        ((0, 0, 0), (6.0, 15.5, 26.0)),
        ((4, 3, 2), (14.0, 24.5, 34.0)),
        ((2, 1.5, 1), (10, 20, 30)),
    ]:
        place = image.frame_from_image_mm @ [*index, 1.0]
        assert place[:3].tolist() == [sign * lps_or_ras[0], sign * lps_or_ras[1], lps_or_ras[2]]


def test_a_sub_volume_lies_where_it_lies_in_the_whole() -> None:
    pixels = np.zeros((1, 2, 3), np.uint8)
    (part,) = receive(b.ImageData(pixels=pixels, columns=AXES, size=(5, 4, 3), offset=(2, 1, 2)))
    (whole,) = receive(b.ImageData(pixels=np.zeros((3, 4, 5), np.uint8), columns=AXES, size=(5, 4, 3)))
    assert part.pixels.shape == (1, 2, 3)
    assert (part.frame_from_image_mm @ [0, 0, 0, 1]).tolist() == (whole.frame_from_image_mm @ [2, 1, 2, 1]).tolist()


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("endian", [1, 2])
def test_pixels_come_native_in_both_byte_orders(dtype: str, endian: int) -> None:
    pixels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for version in (1, 2):
        wire = b.ImageData(pixels=pixels, columns=AXES, size=(4, 3, 2), endian=endian, header_version=version)
        data = b"".join(encode(wire))
        assert pixels.astype(pixels.dtype.newbyteorder(">" if endian == 1 else "<")).tobytes() in data
        (again,) = Decoder().feed(data)
        assert again.pixels.dtype == np.dtype(dtype)
        assert again.pixels.dtype.isnative
        assert again.pixels.flags.aligned
        assert again.pixels.ctypes.data % 16 == 0 or endian == 1
        assert not again.pixels.flags.writeable
        assert again.pixels.tolist() == pixels.tolist()
        assert b"".join(encode(again)) == data


def test_a_compiled_kernel_reads_foreign_pixels_rightly() -> None:
    """Without the one door numba would misread these silently, or compile anew while live."""
    numba = pytest.importorskip("numba")

    @numba.njit(nogil=True)
    def total(pixels: Any) -> float:
        found = 0.0
        for value in pixels.flat:
            found += value
        return found

    warm = np.zeros((1, 1, 1), np.float32)
    warm.flags.writeable = False
    total(warm)
    compiled = len(total.signatures)
    pixels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for endian in (1, 2):
        for version in (1, 2):
            wire = b.ImageData(pixels=pixels, columns=AXES, size=(4, 3, 2), endian=endian, header_version=version)
            (image,) = Decoder().feed(b"".join(encode(wire)))
            assert total(image.pixels) == pixels.sum()
    assert len(total.signatures) == compiled


def test_pixels_are_not_copied_on_the_way_out() -> None:
    pixels = np.zeros((4, 256, 256), np.float32)
    (wire,) = to_wire(m.Image(name="mr", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4)), 1)
    buffers = encode(wire)
    assert len(buffers) == 2
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), pixels)


COMMAND_ROWS: list[tuple[bytes, dict[str, float], str]] = [
    (b"", {}, ""),
    (b'{"power_w": 20, "reason": "plan 9f3c"}', {"power_w": 20.0}, "plan 9f3c"),
    (b'<Command Name="POWER" power_w="20" Reason="plan"/>', {"power_w": 20.0}, "plan"),
    (b'<Command power_w="20"><Inner power_w="99"/></Command>', {"power_w": 20.0}, ""),
    (b"as the physicist asked", {}, "as the physicist asked"),
]


@pytest.mark.parametrize(("content", "values", "reason"), COMMAND_ROWS)
def test_commands(content: bytes, values: dict[str, float], reason: str) -> None:
    (command,) = receive(b.CommandData(command_id=7, name="Power", data=content))
    assert (command.command_id, command.verb, command.values, command.reason) == (7, "POWER", values, reason)


BAD_COMMANDS = [b'{"power_w": "much"}', b'{"power_w": [1]}', b'{"power_w": 1', b"<Command", b'{"power_w": 1e999}']


@pytest.mark.parametrize("content", BAD_COMMANDS)
def test_commands_that_make_no_sense_are_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        receive(b.CommandData(command_id=7, name="POWER", data=content))


ANSWERS: list[tuple[bytes, dict[str, str], bool]] = [
    (b'{"done": true}', {}, True),
    (b'{"done": false}', {}, False),
    (b'{"done": true}', {"Status": "FAIL"}, False),
    (b"", {"Status": "SUCCESS"}, True),
    (b'<CommandReply Status="SUCCESS" Message="stopped"/>', {}, True),
    (b'<CommandReply Status="FAIL" Message="no"/>', {}, False),
    (b"", {}, False),
    (b"stopped", {}, False),
]


@pytest.mark.parametrize(("content", "tags", "done"), ANSWERS)
def test_only_what_says_that_it_is_done_is_done(content: bytes, tags: dict[str, str], done: bool) -> None:
    wire = b.CommandData(
        command_id=7, name="STOP", data=content, name_of_type="RTS_COMMAND", header_version=2,
        metadata=metadata_from(tags),
    )  # fmt: skip
    (answer,) = receive(wire)
    assert (answer.command_id, answer.verb, answer.done) == (7, "STOP", done)


def test_sensor_values_have_names_and_missing_ones_are_left_out() -> None:
    values = (1.5, float("nan"), 3.0)
    named = b.SensorData(values=values, header_version=2, metadata=metadata_from({"Names": "power_w, t_c, beam_on"}))
    assert receive(named)[0].values == {"power_w": 1.5, "beam_on": 3.0}
    assert receive(b.SensorData(values=values))[0].values == {"value_0": 1.5, "value_2": 3.0}
    with pytest.raises(RemoteProtocolError, match="2 names for 3"):
        receive(b.SensorData(values=values, header_version=2, metadata=metadata_from({"Names": "a,b"})))


def test_a_reading_written_by_hand() -> None:
    (reading,) = receive(b.StringData(device_name="laser", data=b'{"type": "reading", "values": {"power_w": 12}}'))
    assert (reading.name, reading.values) == ("laser", {"power_w": 12.0})
    (text,) = receive(b.StringData(device_name="laser", data=b'{"some": "other JSON"}'))
    assert isinstance(text, m.Text)
    with pytest.raises(RemoteProtocolError, match="Reading"):
        receive(b.StringData(data=b'{"type": "reading", "values": {"power_w": "much"}}'))


def test_the_children_of_a_bind() -> None:
    pose = b.Transform(columns=AXES)
    children = (
        b.Child("TRANSFORM", "StylusToTracker", bytes(pose.pack()[0])),
        b.Child("STRING", "note", b"\0\3\0\2hi"),
        b.Child("NEWTYPE", "odd", b"xyz"),
    )
    found = receive(b.Bind(device_name="all", children=children))
    assert [type(x) for x in found] == [m.Pose, m.Text, m.Unknown]
    assert [x.name for x in found] == ["StylusToTracker", "note", "odd"]
    with pytest.raises(RemoteProtocolError, match="BIND within"):
        receive(b.Bind(children=(b.Child("BIND", "x", b"\0\0\0\0"),)))
