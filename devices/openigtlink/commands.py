"""Commands and their answers in COMMAND and RTS_COMMAND.

COMMAND: the name is the verb; the content is a JSON object whose numbers are the values and whose
"reason" is the reason, e.g. name `POWER`, content `{"power_w": 20, "reason": "plan 9f3c"}`. Also
understood: an XML element with the same as attributes, as PLUS writes
(`<Command Name="POWER" power_w="20" reason="plan 9f3c"/>`), an empty content, and any other text
(it becomes the reason). RTS_COMMAND: the same name and id; content `{"done": true, "text": "..."}`;
in version 2 also metadata `Status` = SUCCESS | FAIL, which PLUS and 3D Slicer read and write.
What does not say that it is done is not done.
"""

import re
from math import isfinite
from typing import Any
from xml.parsers import expat

import msgspec

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.messages import Acknowledgement, Command, Unknown
from devices.openigtlink.bodies import CommandData
from devices.openigtlink.header import metadata_from
from devices.openigtlink.naming import STATUS
from devices.openigtlink.text import encode_text

_VERB = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_DONE = {"SUCCESS": True, "TRUE": True, "OK": True, "1": True}
Fields = dict[str, Any]


def read_command(wire: CommandData, times: dict[str, Any]) -> Command | Unknown:
    """The command; Unknown where its name cannot be a verb. RemoteProtocolError for values that are no numbers."""
    verb = wire.name.strip().upper().replace(" ", "_")
    if not _VERB.fullmatch(verb):
        return Unknown(type_name="COMMAND", body=b"".join(bytes(part) for part in wire.pack()), **times)
    fields = _fields(wire)
    reason = str(fields.pop("reason", ""))
    values = {key: _number(key, value) for key, value in fields.items()}
    return Command(command_id=wire.command_id, verb=verb, values=values, reason=reason, **times)


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as fault:
        raise RemoteProtocolError(f"COMMAND value {key!r} is {value!r}, not a number") from fault
    if not isfinite(number):
        raise RemoteProtocolError(f"COMMAND value {key!r} is not finite")
    return number


def read_acknowledgement(wire: CommandData, tags: dict[str, str], times: dict[str, Any]) -> Acknowledgement:
    """The answer; done only where it says so."""
    fields = _fields(wire)
    said = tags.get(STATUS, fields.get("status", fields.get("done", "")))
    done = said if isinstance(said, bool) else _DONE.get(str(said).strip().upper(), False)
    text = tags.get("Error") or tags.get("Message") or fields.get("text") or fields.get("message") or ""
    if fields.keys() == {"reason"}:
        text = text or fields["reason"]
    verb = wire.name.strip().upper().replace(" ", "_")
    return Acknowledgement(command_id=wire.command_id, verb=verb, done=done, text=str(text), **times)


def _fields(wire: CommandData) -> Fields:
    """What the content says: a JSON object, the attributes of an XML element, or a text as the reason."""
    text = wire.text.strip().strip("\0")
    if not text:
        return {}
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[str, bool | float | str])
        except (msgspec.MsgspecError, RecursionError) as fault:
            raise RemoteProtocolError(f"{wire.type_name} {wire.name!r}: {fault}") from fault
    if text.startswith("<"):
        return _attributes(text, wire)
    return {"reason": text}


def _attributes(text: str, wire: CommandData) -> Fields:
    """Attributes of the outermost element. No entities, no document types: nothing in it can grow."""
    found: Fields = {}
    depth = 0

    def start(_name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            found.update(attributes)

    def refuse(*_: Any) -> None:
        raise RemoteProtocolError(f"{wire.type_name} {wire.name!r}: a document type in XML is not accepted")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as fault:
        raise RemoteProtocolError(f"{wire.type_name} {wire.name!r}: not XML ({fault})") from fault
    found.pop("Name", None)
    return {key[:1].lower() + key[1:]: value for key, value in found.items()}


def write_command(command: Command, times: dict[str, Any]) -> CommandData:
    """COMMAND with a JSON content."""
    if "reason" in command.values:
        raise LocalProtocolError("a command's value cannot be called 'reason'")
    fields: Fields = {key: _sendable(key, value) for key, value in command.values.items()}
    if command.reason:
        fields["reason"] = command.reason
    encoding, data = encode_text(msgspec.json.encode(fields).decode() if fields else "")
    return CommandData(command_id=command.command_id, name=command.verb, data=data, encoding=encoding, **times)


def _sendable(key: str, value: float) -> float:
    if not isfinite(value):
        raise LocalProtocolError(f"a command's value {key!r} that is not finite cannot be sent")
    return value


def write_acknowledgement(answer: Acknowledgement, times: dict[str, Any]) -> CommandData:
    """RTS_COMMAND with a JSON content and, in version 2, the metadata that PLUS reads."""
    content = msgspec.json.encode({"done": answer.done, "text": answer.text}).decode()
    encoding, data = encode_text(content)
    if times["header_version"] == 2:
        times = {**times, "metadata": (times["metadata"] or ()) + metadata_from({STATUS: _STATUS[answer.done]})}
    return CommandData(
        command_id=answer.command_id,
        name=answer.verb,
        data=data,
        encoding=encoding,
        name_of_type="RTS_COMMAND",
        **times,
    )


_STATUS = {True: "SUCCESS", False: "FAIL"}
