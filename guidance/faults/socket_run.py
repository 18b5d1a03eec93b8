"""Campaign B: the live service over sockets, its devices behind proxies that spoil what passes.

The devices are the scenario's own program (`python -m sim campaign`); a seed means one link, one or two faults and
how long they last. The same oracles as in virtual time read what arrived and what was sent. A case that fails while
the loop itself was kept from running is tried again, and judged as it is the last time.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any, Self

import numpy as np

from guidance.demo import SimulatedRoom
from guidance.events import Act
from guidance.faults.oracle import Limits
from guidance.faults.proxy import SPOILS, Proxy
from guidance.faults.score import Finding, Outcome, judge_trace, rules_without
from guidance.faults.trace import Trace
from guidance.load import config_file, load_room
from guidance.safety.phases import Phase
from guidance.service.serve import with_addresses
from guidance.service.session import Session

ROOM = "campaign"
LINKS = ("tracker", "mr", "therapy")
QUIET_S = 0.4  # before the fault, so that the oracle knows what was
AFTER_S = 0.9  # longer than the longest bound
READY_S = 20.0
KEPT_NS = 6_000_000_000
ROOMS = 2  # a room takes a fifth of a core with its proxies, and waits most of its time
LATE_NS = 25_000_000  # a loop whose ticks came this late was not given the processor: nothing can be timed
TRIES = 4
Named = tuple[int, str, Outcome]  # (seed, what it was, outcome)
STEPS = {  # a HOLD that latched outlives its phase: it is reset in IDLE too
    Phase.STOPPED: ("RESET",), Phase.IDLE: ("RESET", "ARM"), Phase.READY: ("START",), Phase.HOLD: ("FINISH",),
}  # fmt: skip


class SocketRoom:
    """A live session with a proxy on every device's link."""

    def __init__(self, seed: int, without: str = "", apart: Collection[str] = ()) -> None:
        """`apart`: lanes that work in a process of their own."""
        self._apart = apart
        self._without = without
        self._began_ns = 0
        self._settings, self._plan, self._limits = load_room(config_file("procedures", ROOM))
        self._simulated = SimulatedRoom(ROOM, seed, {name: "127.0.0.1:0" for name in LINKS})
        self.limits: Limits = {name: limit.value for name, limit in self._limits.items()}
        self.proxies: dict[str, Proxy] = {}
        self.session: Session

    async def __aenter__(self) -> Self:
        addresses = await self._simulated.start()
        for name in LINKS:
            host, _, port = addresses[name].rpartition(":")
            self.proxies[name] = Proxy(host, int(port))
        seen = {name: await proxy.start() for name, proxy in self.proxies.items()}
        settings = with_addresses(self._settings, {**seen, "bus": "127.0.0.1:0"})
        rules = rules_without(self._without)
        self.session = Session(settings, self._plan, self._limits, rules=rules, apart=self._apart)
        await self.session.__aenter__()
        self._trace = Trace(settings)
        self.session.room.watchers.append(self._trace)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.session.__aexit__(*exc)
        for proxy in self.proxies.values():
            await proxy.stop()
        await self._simulated.stop()

    async def treat(self) -> bool:
        """Act until energy flows; False where that does not come about."""
        room, core = self.session.room, self.session.core
        deadline = asyncio.get_running_loop().time() + READY_S
        while asyncio.get_running_loop().time() < deadline:
            phase = core.treatment.phase
            if phase is Phase.TREATING:
                return True
            for verb in ("ACKNOWLEDGE", *STEPS.get(phase, ())):
                values = core.treatment.shown() if verb == "START" else {}
                room.handle(Act(now_ns=room.clock.now_ns(), verb=verb, actor="operator", values={**values}))
            await asyncio.sleep(0.05)
        return False

    def latest_tick_ns(self) -> int:
        """How late a tick of the service came, at most, since the case began."""
        due = round(self._settings.tick_ms * 1e6)
        times = [at for at, _ in self._trace.walls if at >= self._began_ns]
        return max((after - before - due for before, after in pairwise(times)), default=0)

    async def run_case(self, seed: int) -> tuple[str, Outcome]:
        """One seed: its words and its outcome."""
        rng = np.random.default_rng([seed, 13])
        kinds = sorted(SPOILS)
        kind, link = kinds[seed % len(kinds)], LINKS[seed // len(kinds) % len(LINKS)]
        rows = [(kind, link)]
        if rng.random() < 0.3:
            rows.append((str(rng.choice(kinds)), str(rng.choice([name for name in LINKS if name != link]))))
        lasts_s, both_ways = float(rng.uniform(0.05, 1.2)), bool(rng.random() < 0.5)
        words = f"{', '.join(f'{k} on {name}' for k, name in rows)} for {lasts_s:.2f} s{' both ways' * both_ways}"
        if not await self.treat():
            reasons = "; ".join(self.session.core.last_verdict.reasons)
            return words, Outcome([Finding("B", "not ready", reasons, "READY", READY_S * 1e3, None, True)], [])
        trace = self._trace
        trace.forget(self.session.clock.now_ns() - KEPT_NS)
        await asyncio.sleep(QUIET_S)
        began_ns = self._began_ns = self.session.clock.now_ns()
        for fault, name in rows:
            self.proxies[name].spoil(fault, rng, both_ways)
        await asyncio.sleep(lasts_s)
        for proxy in self.proxies.values():
            proxy.mend()
        await asyncio.sleep(AFTER_S)
        return words, judge_trace(trace, self.limits, began_ns, self.session.clock.now_ns(), self._without)


async def _work(number: int, seeds: Iterator[int], without: str, out: asyncio.Queue[Named | None]) -> None:
    async with SocketRoom(number, without) as room:
        for seed in seeds:
            for number in range(1, TRIES + 1):
                words, outcome = await room.run_case(seed)
                late_ns = room.latest_tick_ns()
                wrong = outcome.false_stops or any(row.missed for row in outcome.findings)
                if not wrong or late_ns < LATE_NS or number == TRIES:
                    break
            told = f", ticks up to {late_ns / 1e6:.0f} ms late, try {number}" if wrong or number > 1 else ""
            await out.put((seed, words + told, outcome))


async def _run(seeds: list[int], without: str, out: asyncio.Queue[Named | None]) -> None:
    """Some rooms side by side, each with devices and proxies of its own, share the seeds."""
    waiting = iter(seeds)
    async with asyncio.TaskGroup() as rooms:
        for number in range(min(ROOMS, len(seeds))):
            rooms.create_task(_work(seeds[0] + number, waiting, without, out))
    await out.put(None)


async def _within(seconds: float, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(seconds):
        await task


def run_socket_cases(seeds: Iterable[int], without: str) -> Iterator[Named]:
    """Every seed over sockets, in a few live sessions."""
    import uvloop

    wanted = list(seeds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        queue: Any = asyncio.Queue()
        task = runner.get_loop().create_task(_run(wanted, without, queue))

        async def following() -> Named | None:
            getting = asyncio.ensure_future(queue.get())
            done, _ = await asyncio.wait((getting, task), return_when=asyncio.FIRST_COMPLETED)
            if getting not in done:
                getting.cancel()
                task.result()
                return None
            row: Named | None = getting.result()
            return row

        while (row := runner.run(following())) is not None:
            yield row
        runner.run(_within(10, task))
