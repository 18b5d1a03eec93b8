"""Words: STATUS, STRING, CAPABILITY, COMMAND and its answer."""

import struct
from typing import Any, ClassVar, Self

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies.base import Buffer, Wire, need_size, refuse
from devices.openigtlink.text import US_ASCII, decode_text, encode_text, read_label, read_name, write_field, write_name

_STATUS = struct.Struct(">Hq20s")
_STRING = struct.Struct(">HH")
_COMMAND = struct.Struct(">I128sHI")


class StatusData(Wire, frozen=True, kw_only=True, eq=False):
    """STATUS: `code` 1 = OK (igtlStatusMessage.h); `ended`: the text carried its closing NUL."""

    TYPE: ClassVar[str] = "STATUS"

    code: int
    subcode: int = 0
    error_name: str = ""
    text: str = ""
    ended: bool = True

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """30 bytes and a UTF-8 text that may end with one NUL."""
        if len(content) < _STATUS.size:
            refuse(type_name, f"content of {len(content)} bytes, must be at least {_STATUS.size}")
        code, subcode, error_name = _STATUS.unpack_from(content)
        data = bytes(content[_STATUS.size :])
        ended = data.endswith(b"\0")
        text = decode_text(data[:-1] if ended else data, 106, "STATUS text")
        if "\0" in text:
            refuse(type_name, "text goes on after its NUL")
        error = read_label(error_name, "STATUS error name")
        return cls(code=code, subcode=subcode, error_name=error, text=text, ended=ended, **common)

    def pack(self) -> list[Buffer]:
        """30 bytes and the text."""
        if not 0 <= self.code <= 0xFFFF or "\0" in self.text:
            raise LocalProtocolError(f"status code {self.code} or its text cannot be sent")
        head = _STATUS.pack(self.code, self.subcode, write_field(self.error_name, 20, "STATUS error name"))
        return [head + encode_text(self.text)[1] + b"\0" * self.ended]


class StringData(Wire, frozen=True, kw_only=True, eq=False):
    """STRING: `data` in the character set with IANA number `encoding`."""

    TYPE: ClassVar[str] = "STRING"

    data: bytes
    encoding: int = US_ASCII

    @property
    def text(self) -> str:
        """The text."""
        return decode_text(self.data, self.encoding, "STRING")

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Encoding, length and exactly that many bytes."""
        if len(content) < _STRING.size:
            refuse(type_name, f"content of {len(content)} bytes, must be at least {_STRING.size}")
        encoding, length = _STRING.unpack_from(content)
        need_size(type_name, content, _STRING.size + length)
        data = bytes(content[_STRING.size :])
        decode_text(data, encoding, type_name)
        return cls(data=data, encoding=encoding, **common)

    def pack(self) -> list[Buffer]:
        """Encoding, length and text."""
        if len(self.data) > 0xFFFF:
            raise LocalProtocolError(f"a STRING of {len(self.data)} bytes is over 65535")
        return [_STRING.pack(self.encoding, len(self.data)) + self.data]


class Capability(Wire, frozen=True, kw_only=True, eq=False):
    """CAPABILITY: the message types that a peer understands."""

    TYPE: ClassVar[str] = "CAPABILITY"

    types: tuple[str, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """12 bytes a type name."""
        if len(content) % 12:
            refuse(type_name, f"content of {len(content)} bytes is not a whole number of type names")
        names = (read_name(bytes(content[i : i + 12]), "CAPABILITY type") for i in range(0, len(content), 12))
        return cls(types=tuple(names), **common)

    def pack(self) -> list[Buffer]:
        """12 bytes a type name."""
        return [write_name(name, 12, "CAPABILITY type").ljust(12, b"\0") for name in self.types]


class CommandData(Wire, frozen=True, kw_only=True, eq=False):
    """COMMAND or RTS_COMMAND (the answer): `data` in the character set with IANA number `encoding`."""

    TYPE: ClassVar[str] = "COMMAND"

    command_id: int
    name: str
    data: bytes = b""
    encoding: int = US_ASCII
    name_of_type: str = "COMMAND"

    @property
    def type_name(self) -> str:
        """COMMAND or RTS_COMMAND."""
        return self.name_of_type

    @property
    def text(self) -> str:
        """The command's content."""
        return decode_text(self.data, self.encoding, self.name_of_type)

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """138 bytes and exactly as many as announced."""
        if len(content) < _COMMAND.size:
            refuse(type_name, f"content of {len(content)} bytes, must be at least {_COMMAND.size}")
        command_id, name, encoding, length = _COMMAND.unpack_from(content)
        need_size(type_name, content, _COMMAND.size + length)
        data = bytes(content[_COMMAND.size :])
        decode_text(data, encoding, type_name)
        label = read_label(name, "command name")
        return cls(command_id=command_id, name=label, data=data, encoding=encoding, name_of_type=type_name, **common)

    def pack(self) -> list[Buffer]:
        """138 bytes and the content."""
        if not 0 <= self.command_id <= 0xFFFFFFFF:
            raise LocalProtocolError(f"command id {self.command_id} does not fit 32 bits")
        name = write_field(self.name, 128, "command name")
        return [_COMMAND.pack(self.command_id, name, self.encoding, len(self.data)) + self.data]
