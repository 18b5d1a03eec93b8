"""The OpenIGTLink examples in the example room: a pose goes in, its guided pose comes out, an alarm is heard."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from guidance.load import load_room
from guidance.service.serve import with_addresses
from guidance.service.session import Session

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Run = Callable[..., Awaitable[asyncio.subprocess.Process]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def addresses(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The example room, running on free ports."""
    settings, plan, limits = load_room(EXAMPLES / "room.toml")
    free = {row.id: f"127.0.0.1:{free_port()}" for row in settings.links}
    async with Session(with_addresses(settings, free), plan, limits):
        yield free


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """`await run(program, *arguments)`; everything is killed at the end."""
    running = []

    async def start(*command: object) -> asyncio.subprocess.Process:
        words = map(str, command)
        running.append(await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE))
        return running[-1]

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: asyncio.subprocess.Process, *wanted: str) -> str:
    """The first line that it prints in which all of `wanted` stand."""
    assert process.stdout is not None
    async with asyncio.timeout(120):
        while True:
            line = (await process.stdout.readline()).decode()
            assert line, "it ended"
            if all(word in line for word in wanted):
                return line


@pytest.fixture(scope="module")
def cpp_tracker(tmp_path_factory: pytest.TempPathFactory, skip: Callable[[str], None]) -> Path:
    """The C++ example, compiled where that is possible."""
    if shutil.which("cmake") is None or shutil.which("c++") is None or not Path("/usr/include/openigtlink").is_dir():
        skip("no cmake, compiler or libopenigtlink-dev (scripts/install-peers.sh)")
    build = tmp_path_factory.mktemp("cpp")
    for command in (["-S", EXAMPLES / "cpp_tracker", "-B", build], ["--build", build]):
        done = subprocess.run(["cmake", *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "tracker"


async def meet(run: Run, addresses: dict[str, str], *tracker: Any) -> None:
    console = await run(sys.executable, EXAMPLES / "pyigtl_console.py", *addresses["console"].split(":"))
    bus = await run(sys.executable, EXAMPLES / "zeromq_subscriber.py", f"tcp://{addresses['bus']}", "or-1")
    alarms = await run(sys.executable, EXAMPLES / "mqtt_alerts.py", *addresses["alarms"].split(":"))
    sender = await run(*tracker, *addresses["tracker"].split(":"))
    await line_with(console, "NeedleToRAS", "[1")  # 100 mm and more to the right of the tracker
    await line_with(bus, "room/or-1/guided_pose/", "'tool': 'Needle'")
    await line_with(alarms, "guidance/or-1/state", "live")
    sender.kill()
    await line_with(alarms, "guidance/or-1/alerts/", "Needle", "active")
    await line_with(console, "Alert", "Needle", "active")


@pytest.mark.peers
async def test_a_pyigtl_tracker_and_console(run: Run, addresses: dict[str, str]) -> None:
    await meet(run, addresses, sys.executable, EXAMPLES / "pyigtl_tracker.py")


@pytest.mark.peers
async def test_the_cpp_tracker(run: Run, addresses: dict[str, str], cpp_tracker: Path) -> None:
    await meet(run, addresses, cpp_tracker)
