"""`links[].options` of a room file: what may stand there for each kind of link, checked before anything opens.

| kind | besides the plain settings of the link |
|---|---|
| all | lists are written with commas: `ask = "STT_TDATA, GET_IMGMETA"` |
| openigtlink | `authority_file`, `certificate_file`, `key_file`: mutual TLS; `trusted_network = true`: a VPN instead |
| zeromq | `secret_file`, `allowed_folder` (listen), `server_file` (connect): CURVE; `images = "HOST:PORT"` |
| mqtt | `authority_file`, `certificate_file`, `key_file`, `username`, `password_file` |

Paths are relative to the room file. `images` gives images and overlays a socket of their own, so that they
never hold up small messages in a reader's queue; without it they share the link's address.
"""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from devices.errors import LocalProtocolError
from devices.mqtt.settings import MqttSettings, check_secure
from devices.mqtt.settings import TlsFiles as BrokerFiles
from devices.openigtlink.settings import OpenIGTLinkSettings
from devices.openigtlink.tls import TlsFiles, tls_context
from devices.zeromq.keys import read_secret
from devices.zeromq.settings import CurveKeys, ZeroMQSettings, check_endpoint
from guidance.settings import Link, RoomSettings

Options = Mapping[str, str | int | float | bool]
_ROW = frozenset({"id", "mode", "host", "port", "room", "default_frame", "reconnect", "publish"})  # said elsewhere
_NOT_PLAIN = frozenset({"tls", "limits", "curve"})
_SECURED = {
    OpenIGTLinkSettings: ("authority_file", "certificate_file", "key_file", "trusted_network"),
    ZeroMQSettings: ("secret_file", "allowed_folder", "server_file", "images"),
    MqttSettings: ("authority_file", "certificate_file", "key_file"),
}
SILENT_S = 2.5  # a tracker that says nothing for so long is gone, even where its machine still answers
_SILENT_PERIODS = 10


def plain(kind: type, options: Options) -> dict[str, Any]:
    """The options that are fields of the link's settings, by their types; ValueError lists every other one."""
    hints = typing.get_type_hints(kind)
    known = sorted(set(hints) - _ROW - _NOT_PLAIN)
    found: dict[str, Any] = {}
    faults: list[str] = []
    for name, value in options.items():
        if name in _SECURED[kind]:
            continue
        if name not in known:
            faults.append(f"options.{name}: there is no such option (have {', '.join([*known, *_SECURED[kind]])})")
            continue
        hint = hints[name]
        listed = typing.get_origin(hint) in (tuple, frozenset) and isinstance(value, str)
        given: Any = [part.strip() for part in value.split(",")] if listed else value  # type: ignore[union-attr]
        try:
            found[name] = pydantic.TypeAdapter(hint).validate_python(given)
        except pydantic.ValidationError as fault:
            faults += [f"options.{name}: {error['msg']} (got {value!r})" for error in fault.errors()]
    if faults:
        raise ValueError("; ".join(faults))
    return found


def _files(options: Options, *names: str) -> list[Path] | None:
    """The paths of all `names`, None where none is given; ValueError where only some are."""
    given = [name for name in names if name in options]
    if not given:
        return None
    if len(given) < len(names):
        raise ValueError(f"options: {', '.join(given)} needs {', '.join(set(names) - set(given))} as well")
    return [Path(str(options[name])) for name in names]


def openigtlink(row: Link, room: RoomSettings) -> OpenIGTLinkSettings:
    """Settings of one OpenIGTLink row. Beyond loopback it listens with certificates, or where it is told of a VPN."""
    host, port = split(row.address)
    values = plain(OpenIGTLinkSettings, row.options)
    files = _files(row.options, "authority_file", "certificate_file", "key_file")
    if "idle_limit_s" not in values:
        values["idle_limit_s"] = _idle_limit_s(row, room)
    values["idle_limit_s"] = values["idle_limit_s"] or None  # 0 switches it off
    settings = OpenIGTLinkSettings(
        id=row.id,
        mode=row.mode,
        host=host,
        port=port,
        default_frame=row.default_frame,
        reconnect=row.reconnect,
        tls=tls_context(TlsFiles(*files), row.mode) if files else None,
        **values,
    )
    if row.mode == "listen" and not settings.carries_commands and row.options.get("trusted_network") is not True:
        raise LocalProtocolError(
            f"it would listen on {host} without encryption: give options authority_file, certificate_file and "
            "key_file (mutual TLS), or trusted_network = true where a VPN already does that"
        )
    return settings


def _idle_limit_s(row: Link, room: RoomSettings) -> float | None:
    """A tracker tells all its tools all the time; imaging and therapy pause, and some want consent per connection."""
    periods = [stream.period_ms for stream in room.streams if stream.link == row.id and stream.kind == "pose"]
    if row.role != "tracker" or not row.reconnect or not periods:
        return None
    return max(SILENT_S, _SILENT_PERIODS * min(periods) / 1000)


def zeromq(row: Link, room: RoomSettings) -> ZeroMQSettings:
    """Settings of one ZeroMQ row; off loopback it needs CURVE keys."""
    endpoint = f"tcp://{row.address}"
    sockets: dict[str, Any] = {"publish": endpoint} if row.mode == "listen" else {"subscribe": (endpoint,)}
    if "images" in row.options:
        sockets["publish_images"] = f"tcp://{row.options['images']}"
    curve = None
    if "secret_file" in row.options:
        paths = {name: Path(str(row.options[name])) for name in _SECURED[ZeroMQSettings] if name in row.options}
        curve = CurveKeys(paths["secret_file"], paths.get("allowed_folder"), paths.get("server_file"))
        read_secret(curve.secret)
    settings = ZeroMQSettings(room=room.room, curve=curve, **(sockets | plain(ZeroMQSettings, row.options)))
    for name in ("publish", "publish_images", "listen", "execute", "issue"):
        if address := getattr(settings, name):
            check_endpoint(address, curve, binds=name != "issue")
    for address in settings.subscribe:
        check_endpoint(address, curve, binds=False)
    return settings


def mqtt(row: Link, room: RoomSettings) -> MqttSettings:
    """Settings of one MQTT row; off loopback it needs TLS."""
    host, port = split(row.address)
    tls = None
    if "authority_file" in row.options:
        tls = BrokerFiles(
            Path(str(row.options["authority_file"])), *(_files(row.options, "certificate_file", "key_file") or ())
        )
    values = plain(MqttSettings, row.options)
    settings = MqttSettings(room=room.room, host=host, port=port, tls=tls, **values)
    check_secure(settings)
    return settings


def split(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host, int(port)


OF_KIND = {"openigtlink": openigtlink, "zeromq": zeromq, "mqtt": mqtt}


def link_faults(room: RoomSettings) -> list[str]:
    """Everything that is wrong with the options of any link, as `links.ID: what`."""
    faults = []
    for row in room.links:
        try:
            OF_KIND[row.kind](row, room)
        except (ValueError, LocalProtocolError) as fault:
            faults.append(f"links.{row.id}: {fault}")
    return faults
