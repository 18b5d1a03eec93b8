"""`guidance demo`: simulated room, embedded broker, service and console, one command."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from typing import Any

from guidance.errors import GuidanceError
from guidance.load import config_file, load_room
from guidance.service.serve import with_addresses
from guidance.service.session import APART, Session, on_signals
from guidance.settings import RoomSettings

READY_S = 60.0  # the simulator compiles its kernels the first time
LIVE_S = 60.0
END_S = 1.5


class SimulatedRoom:
    """The simulator as a child process; it ends with us, however we end."""

    def __init__(self, scenario: str, seed: int, binds: dict[str, str]) -> None:
        self._words = ["-m", "sim", scenario, "--seed", str(seed)]
        for name, address in binds.items():
            self._words += ["--bind", f"{name}={address}"]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> dict[str, str]:
        """Start it and return the addresses of its links; GuidanceError when it does not come up."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._words, stdout=asyncio.subprocess.PIPE, preexec_fn=_die_with_parent
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await self._process.stdout.readline()
            addresses: dict[str, str] = json.loads(line)["ready"]
        except (TimeoutError, json.JSONDecodeError, KeyError) as fault:
            await self.stop()
            raise GuidanceError(f"the simulated room did not come up: {' '.join(self._words)}") from fault
        return addresses

    async def stop(self) -> None:
        """End it: politely first, then for sure."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await process.communicate()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _die_with_parent() -> None:
    """Linux: the child gets SIGTERM when its parent dies, also by SIGKILL."""
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    os.setpgrp()


def free_address() -> str:
    """A loopback address whose port is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def choose_addresses(settings: RoomSettings) -> tuple[dict[str, str], dict[str, str]]:
    """(ours, theirs): free addresses for links on which we listen; the simulator chooses the others."""
    ours = {row.id: free_address() for row in settings.links if row.mode == "listen"}
    peers = {row.id for row in settings.links if row.kind == "openigtlink"}
    theirs = {row.id: ours.get(row.id, "127.0.0.1:0") for row in settings.links if row.id in peers}
    return ours, theirs


async def run_demo(procedure: str, duration_s: float | None, seed: int, browser: bool) -> dict[str, Any]:
    """Run the procedure on simulated devices and return the summary."""
    from guidance.console import serve_console

    settings, plan, limits = load_room(config_file("procedures", procedure))
    ours, theirs = choose_addresses(settings)
    simulated = SimulatedRoom(str(config_file("scenarios", procedure)), seed, theirs)
    try:
        addresses = {**await simulated.start(), **ours}
        known = {row.id for row in settings.links}
        settings = with_addresses(settings, {name: at for name, at in addresses.items() if name in known})
        async with (
            Session(settings, plan, limits, ends_alone=True, apart=APART) as session,
            serve_console(session.room) as address,
        ):
            on_signals(session.end)
            print(f"console: {address}", flush=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIVE_S):
                    await session.all_live()
            if browser:
                _open_browser(address)
            return await session.run(duration_s)
    finally:
        await simulated.stop()


def _open_browser(address: str) -> None:
    import webbrowser

    if os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32"):
        webbrowser.open(address)
