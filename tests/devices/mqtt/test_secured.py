"""The secured example: a mosquitto made from it lets in who it should, and nobody else."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from devices.errors import LocalProtocolError
from devices.mqtt import TlsFiles

pytestmark = pytest.mark.peers
EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "sites" / "secured"


@pytest.fixture(scope="module")
def site(mosquitto, tmp_path_factory, skip):
    """A broker started from a copy of the example: (folder, port)."""
    tools = ("openssl", "mosquitto_passwd")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        skip(f"not installed: {missing}")
    folder = tmp_path_factory.mktemp("secured") / "site"
    shutil.copytree(EXAMPLE, folder)
    subprocess.run(["sh", folder / "make-keys.sh", "127.0.0.1"], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (folder / "mosquitto.conf").read_text().replace("listener 8883", f"listener {port} 127.0.0.1")
    if os.geteuid() == 0:
        text += "user root\n"
    (folder / "mosquitto.conf").write_text(text)
    with subprocess.Popen([mosquitto, "-c", "mosquitto.conf"], cwd=folder, stderr=subprocess.PIPE) as process:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
        yield folder, port
        process.kill()


@pytest.fixture
def room(site, start_link):
    folder, port = site

    async def start(user="room-or-1", **changes):
        settings = {
            "port": port,
            "username": user,
            "password_file": folder / f"{user}.password",
            "tls": TlsFiles(folder / "ca.crt"),
        }
        return await start_link(**{**settings, **changes})

    return start


def reader(site, listen, *topics, **options):
    folder, port = site
    password = (folder / "reader.password").read_text().strip()
    return listen(port, *topics, ca=str(folder / "ca.crt"), username="reader", password=password, **options)


async def test_a_room_tells_and_a_reader_hears_and_asks(site, room, listen, wait_until, alert):
    ours = await room()
    for sequence in range(700):
        ours.link.send(alert(sequence))
    await wait_until(lambda: ours.link.counters["sent"] == 700, "confirmed over TLS")
    late = reader(site, listen, "guidance/+/alerts/#", "guidance/+/state", asks=True)
    await wait_until(lambda: set(late.sequences()) == set(range(700)), "everything, because it asked")
    assert late.state() == "live"


async def test_a_reader_may_not_speak_for_a_room(site, room, listen, wait_until):
    ours = await room()
    await wait_until(lambda: ours.up, "connected")
    other = reader(site, listen, "guidance/+/state", "guidance/+/alerts/#")
    await wait_until(lambda: other.state() == "live", "live")
    other._client.publish("guidance/or-1/state", b'{"version":1,"log":"x","state":"stopped"}', qos=1, retain=True)
    other._client.publish("guidance/or-1/alerts/forged", b"{}", qos=1, retain=True).wait_for_publish(5)
    late = reader(site, listen, "guidance/+/state", "guidance/+/alerts/#")
    await wait_until(lambda: late.state(), "what is retained")
    assert late.state() == "live"
    assert late.notes("/alerts/forged") == []


@pytest.mark.parametrize("case", ["wrong password", "foreign authority", "plain text"])
async def test_wrong_credentials_do_not_connect(site, room, wait_until, tmp_path, case):
    folder, _port = site
    (tmp_path / "wrong").write_text("wrong\n")
    shutil.copytree(EXAMPLE, tmp_path / "other")
    subprocess.run(["sh", tmp_path / "other" / "make-keys.sh", "127.0.0.1"], check=True, capture_output=True)  # noqa: ASYNC221
    changes = {
        "wrong password": {"password_file": tmp_path / "wrong"},
        "foreign authority": {"tls": TlsFiles(tmp_path / "other" / "ca.crt")},
        "plain text": {"tls": None},
    }[case]
    ours = await room(**changes)
    await wait_until(lambda: ours.changes, "a refusal that is told")
    assert not any(up for up, _, _ in ours.changes)
    assert (folder / "room-or-1.password").stat().st_mode & 0o077 == 0


async def test_bad_files_are_named(room, tmp_path):
    for changes, word in [
        ({"tls": TlsFiles(tmp_path / "none.crt")}, "TLS files"),
        ({"password_file": tmp_path / "none"}, "password file"),
    ]:
        with pytest.raises(LocalProtocolError, match=word):
            await room(**changes)
