"""A running service that says many alarms, a broker that dies and freezes meanwhile, and a reader that counts.

As a program (`python tests/guidance/service/alert_feed.py PORT FOLDER FIRST LAST`): the service. It says what is on
the disk: "kept N" once alarm N and all before it are.
"""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from devices.messages import Alert, AlertKind, Priority
from guidance.events import AnyEvent, Effect, Send, Tick
from guidance.load import config_file
from guidance.safety.limits import load_limits
from guidance.service.session import Session
from guidance.settings import parse_settings

ROOT = Path(__file__).resolve().parents[3]
PER_TICK = 40
STILL = 4  # looks without progress, half a second each, before a reader asks again


def room(port: int, folder: str) -> dict[str, Any]:
    return {
        "room": "or-1",
        "procedure": "alarms",
        "links": [
            {"id": "tracker", "kind": "openigtlink", "mode": "listen", "address": "127.0.0.1:0"},
            {"id": "alerts", "kind": "mqtt", "address": f"127.0.0.1:{port}", "role": "alerts"},
        ],
        "streams": [{"name": "Needle", "link": "tracker", "kind": "pose", "period_ms": 20.0}],
        "outputs": [{"kind": "alert", "to": ["alerts"]}],
        "recording": {"folder": folder},
    }


class Loud:
    """The real core, and `PER_TICK` alarms more with every tick; sequences go on through both."""

    def __init__(self, session: Session, first: int, last: int) -> None:
        self.number, self.last = first, last
        self._session, self._accept = session, session.core.accept
        self._sequence = 0

    def accept(self, event: AnyEvent) -> list[Effect]:
        effects = list(self._accept(event))
        if isinstance(event, Tick):
            self._say_what_is_kept()
            more = range(self.number, min(self.number + PER_TICK, self.last))
            self.number += len(more)
            effects += [Send(link="alerts", message=self._alarm(number), urgent=True) for number in more]
        return [self._numbered(effect) for effect in effects]

    def _say_what_is_kept(self) -> None:
        assert self._session.journal is not None
        if not self._session.journal.health().waiting:
            print(f"kept {self.number - 1}", flush=True)

    def _alarm(self, number: int) -> Alert:
        return Alert(
            name=f"T1.{number % 7}", room="or-1", priority=Priority.HIGH, kind=AlertKind.TECHNICAL, state="active",
            text=f"number {number}", reaction="", advice="", first_ns=1,
        )  # fmt: skip

    def _numbered(self, effect: Effect) -> Effect:
        if not isinstance(effect, Send) or not isinstance(effect.message, Alert):
            return effect
        self._sequence += 1
        message = msgspec.structs.replace(effect.message, sequence=self._sequence)
        return msgspec.structs.replace(effect, message=message)


async def serve(port: int, folder: str, first: int, last: int) -> None:
    settings = parse_settings(room(port, folder), "test")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    session = Session(settings, None, load_limits(config_file("safety", "limits")), lasting=True)
    session.core.accept = Loud(session, first, last).accept  # type: ignore[method-assign]
    async with session:
        await ended.wait()


class Service:
    """The program above in a process of its own."""

    def __init__(self, port: int, folder: Path, last: int) -> None:
        self._command = [sys.executable, __file__, str(port), str(folder)]
        self._last = last
        self._process: subprocess.Popen[str] | None = None
        self._reader: asyncio.Task[None] | None = None
        self.kept = -1

    def start(self) -> None:
        words = [*self._command, str(self.kept + 1), str(self._last)]
        self._process = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}
        )
        self._reader = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("kept "):
                self.kept = max(self.kept, int(line.split()[1]))

    async def end(self, number: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        self._process.send_signal(number)
        await asyncio.to_thread(self._process.wait)
        await self._reader
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None


class Reader:
    """A reader that misses nothing: it asks again where a number is missing (a broker drops what waits too long)."""

    def __init__(self, listener: Any) -> None:
        self.numbers: set[int] = set()
        self.listener = listener
        self._read = 0
        self._after = 0
        self._sequences: set[int] = set()
        self._log = ""

    def look(self) -> None:
        """Take in what has come since the last look."""
        new = self.listener.heard[self._read :]
        self._read += len(new)
        for topic, payload, _ in new:
            if "/log/" not in topic:
                continue
            note = json.loads(payload)
            self._log = note["log"]
            self._sequences.add(note["alert"]["sequence"])
            word, _, number = note["alert"]["text"].partition(" ")
            if word == "number":
                self.numbers.add(int(number))

    async def stay(self) -> None:
        """Look, and ask, for as long as somebody reads."""
        still = 0
        while True:
            await asyncio.sleep(0.5)
            self.look()
            before = self._after
            while self._after + 1 in self._sequences:
                self._after += 1
            still = still + 1 if self._after == before < max(self._sequences, default=0) else 0
            if still >= STILL:
                self.listener.ask("guidance/or-1/ask", self._log, self._after)
                still = 0


async def campaign(broker: Any, listener: Any, service: Service, count: int, partition_s: float, until: Any) -> None:
    """Kill the broker, freeze it, kill the service, lose the reader, stop the service; nothing may be missing."""
    reader = Reader(listener)
    staying = asyncio.create_task(reader.stay())
    try:
        await _campaign(broker, reader, service, count, partition_s, until)
    finally:
        staying.cancel()
        await asyncio.wait({staying})


async def _campaign(broker: Any, reader: Reader, service: Service, count: int, partition_s: float, until: Any) -> None:
    service.start()

    async def at(share: float) -> None:
        await until(lambda: service.kept >= share * count, f"{share:.0%} of the alarms", 240.0)

    await at(0.1)
    broker.kill()
    await asyncio.sleep(0.5)
    broker.start()
    await at(0.3)
    broker.signal(signal.SIGSTOP)
    await asyncio.sleep(partition_s)
    broker.signal(signal.SIGCONT)
    await at(0.5)
    await service.end(signal.SIGKILL)
    service.start()
    await at(0.55)
    reader.listener.leave()
    await at(0.65)
    missed = service.kept + 1 - len(reader.numbers)
    assert missed >= 0.05 * count, "a reader that is away misses what is said"
    reader.listener.come_back()
    await at(0.7)
    broker.kill()
    await service.end(signal.SIGTERM)
    service.start()
    broker.start()
    await until(lambda: service.kept == count - 1, "all alarms on the disk", 240.0)
    await until(lambda: len(reader.numbers) == count, "all alarms at the reader", 60.0 + count / 200)
    lost = count - len(reader.numbers)
    print(f"{count} alarms on the disk, {lost} lost at the reader; {missed} were said while it was away")
    assert reader.numbers == set(range(count))
    await service.end(signal.SIGTERM)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
