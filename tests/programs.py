"""Programs beside a test: child processes that never outlive it, and what they have said."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A child process and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.said += data.decode("utf-8", "replace")

    async def end(self) -> None:
        """Kill and wait."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reader


class Stage:
    """Starts programs and waits for things; everything ends with the test, last first."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()

    async def run(self, *words: object) -> Program:
        """Start a program; it is killed at the end whatever happens."""
        process = await asyncio.create_subprocess_exec(
            *map(str, words),
            stdin=asyncio.subprocess.DEVNULL,  # a program that reads the terminal would be stopped with the test
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        program = Program(process)
        self._stack.push_async_callback(program.end)
        return program

    async def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
        """Wait for something that must come; the generous limit only ends a hang."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"never came: {what}{self.state()}")

    def state(self) -> str:
        """What a failure should say besides."""
        return ""

    async def close(self) -> None:
        """End everything."""
        await self._stack.aclose()
