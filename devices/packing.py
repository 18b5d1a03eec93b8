"""One binary form for every message: msgpack with arrays carried raw, in place or beside.

Used by the ZeroMQ framing (arrays beside, zero-copy) and by recordings (arrays in place).
In place an array is {dtype, shape, data}; beside it is {dtype, shape, beside}, where `beside` is
the index of the buffer that travels next to the blob.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from devices.errors import RemoteProtocolError
from devices.messages import AnyMessage, GuidedPose, Image, Outlines, Overlay, Paths, Points, Pose

Buffer = bytes | bytearray | memoryview
Value = TypeVar("Value")

BESIDE_BYTES = 1024  # arrays larger than this travel beside, smaller ones (matrices) in place

# Array fields of every message: (field, dtype or "" for any, allowed shapes; None = any extent).
_FIELDS: dict[type, tuple[tuple[str, str, tuple[tuple[int | None, ...], ...]], ...]] = {
    Pose: (("fixed_from_moving", "f8", ((4, 4),)),),
    Image: (
        ("pixels", "", ((None, None, None), (None, None, None, None))),
        ("frame_from_image_mm", "f8", ((4, 4),)),
    ),
    Points: (("positions_mm", "f8", ((None, 3),)),),
    Paths: (("ends_mm", "f8", ((None, 2, 3),)), ("radii_mm", "f8", ((None,),))),
    Outlines: (("points_mm", "f8", ((None, 3),)), ("counts", "i4", ((None,),))),
    GuidedPose: (("ras_from_tool", "f8", ((4, 4),)),),
    Overlay: (("rgba", "u1", ((None, None, 4),)), ("ras_from_image_mm", "f8", ((4, 4),))),
}

_DTYPES = {"|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<u8", "<f4", "<f8", "<c8", "<c16"}
_ITEM = {name: np.dtype(name) for name in _DTYPES}


def enc_hook(value: Any) -> Any:
    """msgspec's hook for what it does not know: an array as {dtype, shape, data}, a NumPy scalar as a number."""
    if isinstance(value, np.ndarray):
        plain = little_endian(value)
        return {"dtype": plain.dtype.str, "shape": plain.shape, "data": raw(plain)}
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"cannot pack a {type(value).__name__}")


def little_endian(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """C-contiguous little-endian view or copy of `array`; TypeError names a dtype that has no wire form."""
    target = array.dtype.newbyteorder("<")
    if target.str not in _DTYPES:
        raise TypeError(f"arrays of dtype {array.dtype} have no wire form")
    return np.asarray(array, dtype=target, order="C")


def raw(array: np.ndarray[Any, Any]) -> memoryview:
    """The bytes of a C-contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def read_array(dtype: str, shape: Sequence[int], data: Buffer) -> np.ndarray[Any, Any]:
    """A read-only native array over `data`; RemoteProtocolError where the three disagree."""
    item = _ITEM.get(dtype)
    if item is None:
        raise RemoteProtocolError(f"array dtype {dtype!r} is not one of {sorted(_DTYPES)}")
    count = 1
    for extent in shape:
        if type(extent) is not int or extent < 0:
            raise RemoteProtocolError(f"array shape {tuple(shape)} is not a shape")
        count *= extent
    if len(shape) > 6 or count * item.itemsize != len(data):
        raise RemoteProtocolError(f"array of shape {tuple(shape)} {dtype} does not fit {len(data)} bytes")
    array: np.ndarray[Any, Any] = np.frombuffer(data, dtype=item).reshape(tuple(shape))
    if not array.flags.aligned:  # a small part inside a larger receive buffer; compiled loops want aligned data
        array = array.copy()
    array.flags.writeable = False
    return array


def dec_hook(kind: Any, value: Any) -> Any:
    """Inverse of `enc_hook` for array fields; RemoteProtocolError on anything else."""
    if isinstance(value, dict) and value.keys() == {"dtype", "shape", "data"}:
        return read_array(value["dtype"], value["shape"], value["data"])
    raise RemoteProtocolError(f"expected an array, got {type(value).__name__}")


def check_arrays(message: AnyMessage) -> None:
    """RemoteProtocolError where an array is not of the dtype and shape that messages.py states."""
    for field, dtype, shapes in _FIELDS.get(type(message), ()):
        array = getattr(message, field)
        if dtype and array.dtype.str[1:] != dtype:
            raise RemoteProtocolError(f"{field} of {message.name!r} has dtype {array.dtype}, not {dtype}")
        if array.shape not in shapes and not any(_fits(array.shape, shape) for shape in shapes):
            raise RemoteProtocolError(f"{field} of {message.name!r} has shape {array.shape}, not one of {shapes}")
    if isinstance(message, Points) and len(message.labels) != len(message.positions_mm):
        raise RemoteProtocolError(f"{message.name!r} has {len(message.labels)} labels for its points")
    if isinstance(message, Paths) and not len(message.labels) == len(message.ends_mm) == len(message.radii_mm):
        raise RemoteProtocolError(f"{message.name!r} has {len(message.labels)} labels for its paths")
    if isinstance(message, Outlines) and int(message.counts.sum()) != len(message.points_mm):
        raise RemoteProtocolError(f"{message.name!r} counts other points than its {len(message.points_mm)}")


def _fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    return len(shape) == len(pattern) and all(want in (None, got) for got, want in zip(shape, pattern, strict=True))


_encoder = msgspec.msgpack.Encoder(enc_hook=enc_hook, order="deterministic")
_decoder = msgspec.msgpack.Decoder(AnyMessage, dec_hook=dec_hook)


def pack(message: AnyMessage) -> bytes:
    """The message as one msgpack blob; equal messages give equal bytes."""
    return _encoder.encode(message)


def unpack(data: Buffer) -> AnyMessage:
    """Inverse of `pack`; raises RemoteProtocolError on anything else."""
    try:
        message: AnyMessage = _decoder.decode(data)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as fault:
        raise RemoteProtocolError(f"not a packed message: {fault}") from fault
    check_arrays(message)
    return message


def pack_beside(value: Any) -> tuple[bytes, list[np.ndarray[Any, Any]]]:
    """A struct that holds messages as (blob, buffers): arrays above `BESIDE_BYTES` are not copied but returned."""
    beside: list[np.ndarray[Any, Any]] = []

    def plain(item: Any) -> Any:
        if not isinstance(item, np.ndarray) or item.nbytes <= BESIDE_BYTES:
            return enc_hook(item)
        beside.append(little_endian(item))
        return {"dtype": beside[-1].dtype.str, "shape": item.shape, "beside": len(beside) - 1}

    return msgspec.msgpack.Encoder(enc_hook=plain, order="deterministic").encode(value), beside


class BesideDecoder(Generic[Value]):
    """Inverse of `pack_beside` for structs of one type; arrays are read-only views of the buffers."""

    def __init__(self, kind: type[Value]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind, dec_hook=self._array)
        self._buffers: Sequence[Buffer] = ()
        self._used = 0

    def _array(self, kind: Any, value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "beside"}:
            return dec_hook(kind, value)
        if value["beside"] != self._used or self._used >= len(self._buffers):
            raise RemoteProtocolError(f"no buffer {value['beside']!r} of {len(self._buffers)} is due here")
        self._used += 1
        return read_array(value["dtype"], value["shape"], self._buffers[self._used - 1])

    def decode(self, blob: Buffer, buffers: Sequence[Buffer]) -> Value:
        """The value; RemoteProtocolError where the blob is not one or not every buffer is used once, in order."""
        self._buffers, self._used = buffers, 0
        try:
            value: Value = self._decoder.decode(blob)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as fault:
            raise RemoteProtocolError(f"not a packed {self._decoder.type}: {fault}") from fault
        finally:
            self._buffers = ()
        if self._used != len(buffers):
            raise RemoteProtocolError(f"{len(buffers)} buffers came beside, {self._used} are named")
        return value
