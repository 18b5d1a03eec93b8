"""One binary form for every message: msgpack with arrays carried raw, in place or beside.

Used by the ZeroMQ framing (arrays beside, zero-copy) and by recordings (arrays in place).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from devices.errors import RemoteProtocolError
from devices.messages import AnyMessage

Buffer = bytes | bytearray | memoryview

_DTYPES = {"|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<u8", "<f4", "<f8", "<c8", "<c16"}
_ITEM = {name: np.dtype(name) for name in _DTYPES}


def _array_to_plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        plain = little_endian(value)
        return {"dtype": plain.dtype.str, "shape": plain.shape, "data": plain.reshape(-1).view(np.uint8).data}
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"cannot pack a {type(value).__name__}")


def little_endian(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """C-contiguous little-endian view or copy of `array`; TypeError names a dtype that has no wire form."""
    target = array.dtype.newbyteorder("<")
    if target.str not in _DTYPES:
        raise TypeError(f"arrays of dtype {array.dtype} have no wire form")
    return np.ascontiguousarray(array, dtype=target)


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
    array.flags.writeable = False
    return array


def _plain_to_array(kind: Any, value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"dtype", "shape", "data"}:
        return read_array(value["dtype"], value["shape"], value["data"])
    raise RemoteProtocolError(f"expected an array, got {type(value).__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_array_to_plain, order="deterministic")
_decoder = msgspec.msgpack.Decoder(AnyMessage, dec_hook=_plain_to_array)


def pack(message: AnyMessage) -> bytes:
    """The message as one msgpack blob; equal messages give equal bytes."""
    return _encoder.encode(message)


def unpack(data: Buffer) -> AnyMessage:
    """Inverse of `pack`; raises RemoteProtocolError on anything else."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, TypeError, ValueError) as fault:
        raise RemoteProtocolError(f"not a packed message: {fault}") from fault
