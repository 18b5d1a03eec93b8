"""The devices as a process with real sockets: heard, commanded, ended."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from devices.clock import SystemClock
from devices.messages import Acknowledgement, Command, Image, Pose
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings
from devices.quality import Quality
from sim.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def write(values, folder: Path) -> Path:
    """The scenario as a TOML file; every link on a free port."""
    values["links"] = [row | {"address": "127.0.0.1:0"} for row in values["links"] if row["mode"] == "listen"]
    values["peers"] = [row for row in values["peers"] if row["link"] != "console"]
    path = folder / "room.toml"
    path.write_text("".join(f"{key} = {inline(value)}\n" for key, value in values.items()))
    return path


def inline(value) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


class Process:
    """`python -m sim` as a child."""

    def __init__(self, *words: str) -> None:
        self.words = words

    async def __aenter__(self):
        self.child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sim",
            *self.words,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        line = await asyncio.wait_for(self.child.stdout.readline(), 60)
        self.ready = json.loads(line)["ready"] if line else {}
        return self

    async def end(self):
        self.child.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(self.child.communicate(), 30)
        return json.loads(out.decode().splitlines()[-1])["done"]

    async def __aexit__(self, *_):
        if self.child.returncode is None:
            self.child.kill()
        await self.child.communicate()


class Listener:
    """A link that connects to one of the devices."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        settings = OpenIGTLinkSettings(id="x", mode="connect", host=host, port=int(port), header_version=2)
        self.heard = []
        self.news = asyncio.Event()
        self.link = OpenIGTLinkLink(
            settings,
            clock=SystemClock(),
            on_message=self._hear,
            on_change=lambda *_: None,
            on_loss=lambda *_: None,
        )

    def _hear(self, message) -> None:
        self.heard.append(message)
        self.news.set()

    async def until(self, enough) -> None:
        async with asyncio.timeout(60):
            while not enough(self.heard):
                self.news.clear()
                await self.news.wait()


async def test_devices_are_heard_obey_and_end(values, tmp_path):
    values["peers"][0]["with"]["tools"][3]["hidden_s"] = [[0.0, 1e6]]
    async with Process(str(write(values, tmp_path)), "--seed", "3") as process:
        assert set(process.ready) == {"tracker", "ultrasound", "mr", "therapy"}
        listeners = {name: Listener(address) for name, address in process.ready.items()}
        for listener in listeners.values():
            await listener.link.start()
        await listeners["tracker"].until(lambda heard: len(heard) >= 80)
        await listeners["mr"].until(lambda heard: len(heard) >= 2)
        await listeners["ultrasound"].until(lambda heard: len(heard) >= 5)
        await listeners["therapy"].until(bool)
        listeners["therapy"].link.send(Command(name="Therapy", command_id=7, verb="STOP"))
        await listeners["therapy"].until(lambda heard: any(isinstance(m, Acknowledgement) for m in heard))
        for listener in listeners.values():
            await listener.link.stop()
        done = await process.end()
        assert process.child.returncode == 0
    poses = listeners["tracker"].heard
    assert all(isinstance(pose, Pose) for pose in poses)
    assert {pose.moving for pose in poses} == {"Needle", "Probe", "Transducer", "Reference"}
    assert all((pose.quality is Quality.OK) == (pose.moving != "Reference") for pose in poses)
    mr = listeners["mr"].heard[0]
    assert isinstance(mr, Image)
    assert mr.pixels.dtype == "complex64"
    assert mr.pixels.shape == (3, 32, 32)
    assert float(mr.tags["EchoTime_s"]) == 0.016
    answer = next(m for m in listeners["therapy"].heard if isinstance(m, Acknowledgement))
    assert (answer.command_id, answer.verb, answer.done) == (7, "STOP", True)
    assert done["sent"]["NeedleToTracker"] >= 20
    assert done["lost"] == {}


async def test_only_some_links_on_given_ports_for_some_time(values, tmp_path):
    words = ("--only", "tracker", "--bind", "tracker=127.0.0.1:0", "--duration", "0.5")
    async with Process(str(write(values, tmp_path)), *words) as process:
        assert list(process.ready) == ["tracker"]
        await asyncio.wait_for(process.child.wait(), 60)
        assert process.child.returncode == 0


async def test_a_peer_that_breaks_ends_the_process_with_its_error(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "class Peer:\n"
        "    def __init__(self, name, start_ns): self.name, self.due, self.left = name, start_ns, 5\n"
        "    def next_due_ns(self): return self.due\n"
        "    def advance(self, now_ns):\n"
        "        self.due, self.left = self.due + 10**8, self.left - 1\n"
        "        if not self.left: raise RuntimeError('a broken device')\n"
        "        return []\n"
        "    def accept(self, message, now_ns): pass\n"
    )
    path = tmp_path / "room.toml"
    path.write_text('[[links]]\nid = "a"\nkind = "openigtlink"\n[[peers]]\npeer = "broken.Peer"\nlink = "a"\n')
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sim", str(path), cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await asyncio.wait_for(child.communicate(), 120)
    assert child.returncode != 0
    assert b"a broken device" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no_such_room"], "no scenario"),
        (["hifu_liver", "--bind", "nowhere=127.0.0.1:0"], "nowhere"),
        (["hifu_liver", "--only", "nowhere"], "nowhere"),
    ],
)
def test_wrong_words_are_explained(capsys, words, says):
    assert main(words) == 2
    assert says in capsys.readouterr().err
