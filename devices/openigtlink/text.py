"""Text on the wire: character sets by their IANA number, and NUL-padded fields of fixed length."""

from devices.errors import LocalProtocolError, RemoteProtocolError

US_ASCII = 3
UTF_8 = 106

# IANA MIBenum -> Python codec (https://www.iana.org/assignments/character-sets).
CHARSETS = {
    US_ASCII: "ascii",
    4: "iso-8859-1",
    5: "iso-8859-2",
    12: "iso-8859-9",
    17: "shift_jis",
    18: "euc_jp",
    38: "euc_kr",
    39: "iso-2022-jp",
    UTF_8: "utf-8",
    111: "iso-8859-15",
    113: "gbk",
    114: "gb18030",
    1013: "utf-16-be",
    1014: "utf-16-le",
    1015: "utf-16",
    1017: "utf-32",
    1018: "utf-32-be",
    1019: "utf-32-le",
    2025: "gb2312",
    2026: "big5",
    2250: "cp1250",
    2251: "cp1251",
    2252: "cp1252",
}


def decode_text(data: bytes, encoding: int, what: str) -> str:
    """Text of `data` in the character set with IANA number `encoding`; RemoteProtocolError where it is not."""
    codec = CHARSETS.get(encoding)
    if codec is None:
        raise RemoteProtocolError(f"{what}: character set {encoding} is not one that is known here")
    try:
        return data.decode(codec)
    except UnicodeDecodeError as fault:
        raise RemoteProtocolError(f"{what}: not {codec} text ({fault.reason} at byte {fault.start})") from fault


def encode_text(text: str) -> tuple[int, bytes]:
    """(IANA number, bytes): US-ASCII where it suffices, because old peers know no other, else UTF-8."""
    if text.isascii():
        return US_ASCII, text.encode("ascii")
    try:
        return UTF_8, text.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise LocalProtocolError(f"text with a lone surrogate at {fault.start} cannot be sent") from fault


def read_name(field: bytes, what: str) -> str:
    """Printable ASCII name from a NUL-padded field: names are identities, so nothing else passes."""
    name = field.rstrip(b"\0")
    if not name.isascii() or not (text := name.decode("ascii")).isprintable():
        raise RemoteProtocolError(f"{what} {name!r} is not printable ASCII padded with NUL")
    return text


def read_label(field: bytes, what: str) -> str:
    """Descriptive UTF-8 text (people's names, labels) from a NUL-padded field, without control characters."""
    try:
        text = field.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError as fault:
        raise RemoteProtocolError(f"{what} {field!r} is not UTF-8") from fault
    if not text.isprintable():
        raise RemoteProtocolError(f"{what} {text!r} has characters that cannot be printed")
    return text


def write_field(text: str, size: int, what: str) -> bytes:
    """Bytes for a NUL-padded field of `size`; LocalProtocolError where the text cannot stand there."""
    if not text.isprintable():
        raise LocalProtocolError(f"{what} {text!r} has characters that cannot be printed")
    data = text.encode("utf-8")
    if len(data) > size:
        raise LocalProtocolError(f"{what} {text!r} is longer than {size} bytes")
    return data


def write_name(text: str, size: int, what: str) -> bytes:
    """As `write_field`, for names: printable ASCII only."""
    if not text.isascii():
        raise LocalProtocolError(f"{what} {text!r} is not ASCII")
    return write_field(text, size, what)
