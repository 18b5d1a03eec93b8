"""What a room file may say of its links, and what it must say before a link leaves the machine."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SystemClock
from devices.messages import Text
from devices.mqtt.outbox import MemoryOutbox
from guidance.errors import SettingsError
from guidance.load import load_room
from guidance.service.links import AnyLink, Ears, build
from guidance.service.options import OF_KIND, link_faults
from guidance.settings import RoomSettings, parse_settings


def room(kind: str, mode: str, address: str, role: str = "viewer", **options: Any) -> RoomSettings:
    link = {"id": "x", "kind": kind, "mode": mode, "address": address, "role": role, "options": options}
    if "reconnect" in options:
        link["reconnect"] = options.pop("reconnect")
    stream = {"name": "Needle", "link": "x", "kind": "pose", "period_ms": 20.0}
    return parse_settings({"room": "or-1", "procedure": "p", "links": [link], "streams": [stream]}, "test")


REFUSED: dict[str, tuple[tuple[str, str, str], dict[str, Any], str]] = {
    "igtl in the open": (("openigtlink", "listen", "0.0.0.0:0"), {"allowed_peers": "10.0.0.0/8"}, "mutual TLS"),
    "igtl for anyone": (("openigtlink", "listen", "0.0.0.0:0"), {"trusted_network": True}, "allowed_peers"),
    "igtl with half its keys": (("openigtlink", "listen", "127.0.0.1:0"), {"key_file": "k"}, "needs .*authority_file"),
    "igtl without such files": (
        ("openigtlink", "listen", "127.0.0.1:0"),
        {"authority_file": "no/ca", "certificate_file": "no/crt", "key_file": "no/key"},
        "no/ca.*No such file",
    ),
    "no such option": (("openigtlink", "connect", "127.0.0.1:1"), {"idle": 3}, "options.idle: there is no such option"),
    "no such question": (("openigtlink", "connect", "127.0.0.1:1"), {"ask": "GET_LOST"}, "no such questions"),
    "no number": (("openigtlink", "connect", "127.0.0.1:1"), {"idle_limit_s": "soon"}, "options.idle_limit_s"),
    "no network": (("openigtlink", "listen", "127.0.0.1:1"), {"allowed_peers": "here"}, "here"),
    "zmq in the open": (("zeromq", "listen", "0.0.0.0:5556"), {}, "CURVE"),
    "zmq hearing another machine": (("zeromq", "connect", "10.1.1.1:5556"), {}, "CURVE"),
    "zmq images in the open": (("zeromq", "listen", "127.0.0.1:5556"), {"images": "0.0.0.0:5557"}, "CURVE"),
    "zmq without its key": (("zeromq", "listen", "0.0.0.0:5556"), {"secret_file": "no.key_secret"}, "no.key_secret"),
    "mqtt in the open": (("mqtt", "connect", "10.1.1.1:1883"), {}, "TLS files"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_before_anything_opens(name: str) -> None:
    (kind, mode, address), options, said = REFUSED[name]
    settings = room(kind, mode, address, **options)
    with pytest.raises(SettingsError, match=f"(?s)links.x.*{said}"):
        build(settings.links[0], settings, SystemClock(), Ears("x", _no, _no, _no), MemoryOutbox())
    (fault,) = link_faults(settings)
    assert fault.startswith("links.x: ")


def _no(*_: Any) -> None:
    pytest.fail("nobody is to be heard")


def test_lists_and_numbers_arrive_as_they_are_meant() -> None:
    made = room(
        "openigtlink", "listen", "127.0.0.1:0", "tracker",
        ask="STT_TDATA, GET_IMGMETA", allowed_peers="127.0.0.0/8, ::1/128", queue_bytes=1000, push=False,
    )  # fmt: skip
    settings = OF_KIND["openigtlink"](made.links[0], made)
    assert settings.ask == ("STT_TDATA", "GET_IMGMETA")  # type: ignore[union-attr]
    assert settings.allowed_peers == ("127.0.0.0/8", "::1/128")  # type: ignore[union-attr]
    assert (settings.queue_bytes, settings.push) == (1000, False)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("role", "options", "limit_s"),
    [
        ("tracker", {}, 2.5),  # a hung tracker is seen within the 3 s that a black hole may last
        ("tracker", {"idle_limit_s": 0.5}, 0.5),
        ("tracker", {"idle_limit_s": 0}, None),
        ("tracker", {"reconnect": False}, None),  # somebody consented to this connection
        ("imaging", {}, None),  # scanners pause
    ],
)
def test_only_trackers_must_speak_all_the_time(role: str, options: dict[str, Any], limit_s: float | None) -> None:
    made = room("openigtlink", "connect", "127.0.0.1:1", role, **options)
    assert OF_KIND["openigtlink"](made.links[0], made).idle_limit_s == limit_s  # type: ignore[union-attr]


def openssl(skip: Callable[[str], None], folder: Path, *names: str) -> None:
    """An authority and a certificate for 127.0.0.1 for each name, signed by it; and one signed by nobody."""
    if shutil.which("openssl") is None:
        skip("openssl is not installed")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=site",
        "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    for name in names:
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key"] if name != "stranger" else []
        run("req", "-x509", *key, *signed, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE")  # fmt: skip


ROOM = """
schema_version = 1
room = "or-1"
procedure = "test"
[[links]]
id = "console"
kind = "openigtlink"
mode = "{mode}"
address = "127.0.0.1:{port}"
[links.options]
authority_file = "keys/ca.crt"
certificate_file = "keys/{name}.crt"
key_file = "keys/{name}.key"
[[streams]]
name = "Needle"
link = "console"
kind = "pose"
period_ms = 20.0
"""


class Side:
    """A link of a room file and what it heard."""

    def __init__(self, folder: Path, mode: str, port: int, name: str) -> None:
        file = folder / f"{mode}-{name}.toml"
        file.write_text(ROOM.format(mode=mode, port=port, name=name))
        settings, _, _ = load_room(file)
        self.heard: list[Any] = []
        self.changes: list[Any] = []
        ears = Ears("console", lambda _, m: self.heard.append(m), lambda *c: self.changes.append(c), lambda *_: None)
        self.link: AnyLink = build(settings.links[0], settings, SystemClock(), ears, MemoryOutbox())


async def test_mutual_tls_from_the_room_file_lets_in_whom_it_should(
    tmp_path: Path, skip: Callable[[str], None]
) -> None:
    (tmp_path / "keys").mkdir()
    openssl(skip, tmp_path / "keys", "service", "viewer", "stranger")
    server = Side(tmp_path, "listen", 0, "service")
    await server.link.start()
    port = int(server.link.address[1])
    client = Side(tmp_path, "connect", port, "viewer")
    await client.link.start()
    async with asyncio.timeout(60):
        while not client.heard:
            server.link.send(Text(name="note", text="secret"))
            await asyncio.sleep(0.02)
    assert client.heard[0].text == "secret"
    assert server.link.describe()["secured"]
    stranger = Side(tmp_path, "connect", port, "stranger")
    await stranger.link.start()
    plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", port)
    plain_writer.write(b"\0\1TRANSFORM" + bytes(200))
    with_context = ssl.create_default_context(cafile=str(tmp_path / "keys" / "ca.crt"))
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=with_context)
        try:
            await reader.readexactly(1)  # TLS 1.3 tells only now that a certificate was wanted
        finally:
            writer.close()
    async with asyncio.timeout(60):
        while await plain_reader.read(1000):
            pass
        while not stranger.changes:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert len(server.link.describe()["peers"]) == 1, "neither a stranger nor plain text is let in"
    assert not stranger.heard
    plain_writer.close()
    for side in (stranger, client, server):
        await side.link.stop()


async def test_a_tls_peer_that_never_shakes_hands_is_closed(tmp_path: Path, skip: Callable[[str], None]) -> None:
    (tmp_path / "keys").mkdir()
    openssl(skip, tmp_path / "keys", "service")
    server = Side(tmp_path, "listen", 0, "service")
    await server.link.start()
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", int(server.link.address[1]))) as silent:
        silent.setblocking(False)
        async with asyncio.timeout(60):
            assert await loop.sock_recv(silent, 10) == b""
    await server.link.stop()
