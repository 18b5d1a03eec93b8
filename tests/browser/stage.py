"""The real service on the simulated room, as a subprocess that a test can disturb.

Reads lines from stdin: `fact NAME SUBJECT VALUE` holds a fact at a value whenever the service
measures it, `free` lets all facts go and gives all times back, `disk SECONDS` makes the record as slow,
`unseen MS` sets how long an alarm may go unseen, `ticket SECONDS` the life of a ticket. Prints
`console: ADDRESS`, then a JSON line ten times a second. From the environment: STAGE_OPERATOR keeps
the scenario's operator, STAGE_RECORD keeps a recording in the folder, STAGE_CAMERA adds a room
camera, STAGE_CALM keeps every fact good that is not held, STAGE_APART gives lanes the processes that they
have in a room.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np
import psutil
import uvloop

from devices.messages import Image
from guidance.console import desk, serve_console
from guidance.demo import SimulatedRoom, choose_addresses
from guidance.events import Act, Arrival
from guidance.load import config_file, load_room
from guidance.safety.facts import Fact
from guidance.safety.limits import Limit
from guidance.safety.rules import RULES, Compare
from guidance.service.serve import with_addresses
from guidance.service.session import APART, Session
from guidance.settings import Stream

REAL = {"alarm_unseen_ms"}  # what a calm stage measures all the same


def calm_value(name: str, limits: Mapping[str, Limit], fact: Fact) -> float:
    """A value of a fact that no rule minds."""
    rows = [(r.compare, limits[r.limit].value if fact.limit is None else fact.limit) for r in RULES if r.fact == name]
    most = min((limit for compare, limit in rows if compare is Compare.ABOVE), default=None)
    least = max((limit for compare, limit in rows if compare is Compare.BELOW), default=None)
    if most is not None and least is not None:
        return (most + least) / 2.0
    if most is not None:
        return most - 1.0 - abs(most) / 2.0
    return least + 1.0 + abs(least) / 2.0 if least is not None else fact.value


def hold_facts(facts: Any, limits: Mapping[str, Limit], calm: bool) -> dict[tuple[str, str], float]:
    """Replace `facts.set` so that held facts keep their value; the table of held facts.

    `calm`: everything that is not held is measured as good, however late a busy machine is: what is driven
    here is the page, not the room.
    """
    held: dict[tuple[str, str], float] = {}
    measured = facts.set

    def set_fact(name: str, subject: str, fact: Fact) -> None:
        value = held.get((name, subject))
        if value is None and calm and name not in REAL:
            value = calm_value(name, limits, fact)
        measured(name, subject, fact if value is None else Fact(value, fact.at_ns, True, fact.limit))

    facts.set = set_fact
    return held


def measure_all(session: Session) -> None:
    """Give a value to facts that nothing has measured yet, or not for long."""
    facts, now_ns = session.core.scene.facts, session.clock.now_ns()
    for name in {rule.fact for rule in RULES} - REAL:
        for subject, fact in list(facts.subjects(name).items()):
            if fact is None or now_ns - fact.at_ns > 500_000_000:
                facts.set(name, subject, Fact(0.0, now_ns, limit=fact.limit if fact else None))


class Lines:
    """What a line from the test does to the session."""

    def __init__(self, session: Session, held: dict[tuple[str, str], float]) -> None:
        self._session = session
        self._held = held
        self.disk_s = 0.0
        self._usual = (session.core.scene.limits["alarm_unseen_ms"].value, desk.TICKET_NS / 1e9)
        self._does = {
            "disk": self._disk, "fact": self._fact, "free": self._free, "ticket": self._ticket, "unseen": self._unseen
        }  # fmt: skip

    async def obey(self) -> None:
        """Lines from stdin; when it closes the session ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            self._does[line[0]](*line[1:])
        self._session.end()

    def _disk(self, seconds: str) -> None:
        self.disk_s = float(seconds)
        self._session.room.kept = partial(asyncio.sleep, self.disk_s)  # type: ignore[method-assign]

    def _fact(self, name: str, subject: str, value: str) -> None:
        """Set at once too: some facts wait for events."""
        self._held[name, subject] = float(value)
        self._session.core.scene.facts.set(name, subject, Fact(float(value), self._session.clock.now_ns()))

    def _free(self) -> None:
        freed = list(self._held)
        self._held.clear()
        for name, subject in freed:
            self._session.core.scene.facts.set(name, subject, Fact(0.0, self._session.clock.now_ns()))
        self._unseen(str(self._usual[0]))
        self._ticket(str(self._usual[1]))
        self._disk("0")

    def _ticket(self, seconds: str) -> None:
        desk.TICKET_NS = round(float(seconds) * 1e9)

    def _unseen(self, limit_ms: str) -> None:
        core = self._session.core
        limits = core.scene.limits
        limits["alarm_unseen_ms"] = msgspec.structs.replace(limits["alarm_unseen_ms"], value=float(limit_ms))
        core.signals._escalates_ns = round(float(limit_ms) * 1e6)


CAMERA = Stream(name="Camera", link="ultrasound", kind="video", period_ms=200.0)


async def film(session: Session) -> None:
    """A picture of the room five times a second: a bright disc that wanders over dark red."""
    column, row = np.meshgrid(np.arange(320), np.arange(240))
    while True:
        now_ns = session.clock.now_ns()
        pixels = np.zeros((1, 240, 320, 3), np.uint8)
        pixels[0, ..., 0] = 120
        pixels[0, (column - 60 - now_ns // 10**7 % 200) ** 2 + (row - 120) ** 2 < 900] = 255
        image = Image(
            name="Camera", pixels=pixels, frame="Camera", frame_from_image_mm=np.eye(4),
            device_time_ns=now_ns, receive_time_ns=now_ns,
        )  # fmt: skip
        session.room.handle(Arrival(now_ns=now_ns, link="ultrasound", message=image))
        await asyncio.sleep(0.2)


async def tell(session: Session, acts: Counter[str], lines: Lines) -> None:
    """What the test wants to know of the service itself."""
    while True:
        await asyncio.sleep(0.1)
        if os.environ.get("STAGE_CALM"):
            measure_all(session)
        readings = session.core.devices.readings
        told = {
            "phase": session.core.treatment.phase.value,
            "device": {name: values.get("state") for name, values in readings.items()},
            "acts": dict(acts),
            "disk_s": lines.disk_s,
            "frames": max(
                (row.received for row in session.core.streams.values() if row.settings.kind == "ultrasound"), default=0
            ),
            "power_w": session.core.treatment.shown().get("power_w"),
            "points": sorted(session.core.places.points),
            "memory_mb": psutil.Process().memory_info().rss / 2**20,
            "shows_alarms": session.core.consoles.live(session.clock.now_ns()),
            "p99_loop_ms": session.room.meter.loop_late.percentile_ms(0.99),
        }
        print(json.dumps(told), flush=True)


async def main(procedure: str, seconds: float) -> None:
    """One session."""
    settings, plan, limits = load_room(config_file("procedures", procedure))
    kept = {"enabled": bool(os.environ.get("STAGE_RECORD")), "folder": os.environ["STAGE_FOLDER"]}
    settings = settings.model_copy(update={"recording": settings.recording.model_copy(update=kept)})
    camera = bool(os.environ.get("STAGE_CAMERA"))
    settings = settings.model_copy(update={"streams": (*settings.streams, *([CAMERA] if camera else []))})
    ours, theirs = choose_addresses(settings)
    acts = "" if os.environ.get("STAGE_OPERATOR") else ".quiet"
    simulated = SimulatedRoom(scenario(procedure, bool(acts)), 1, theirs)
    try:
        addresses = {**await simulated.start(), **ours}
        known = {row.id for row in settings.links}
        settings = with_addresses(settings, {name: at for name, at in addresses.items() if name in known})
        session = Session(settings, plan, limits, apart=APART if os.environ.get("STAGE_APART") else ())
        held = hold_facts(session.core.scene.facts, limits, bool(os.environ.get("STAGE_CALM")))
        async with session, serve_console(session.room) as address:
            acts: Counter[str] = Counter()
            session.room.watchers.append(lambda event, _: acts.update([event.verb] if isinstance(event, Act) else []))
            filming = asyncio.create_task(film(session)) if camera else None
            await session.all_live()
            print(f"console: {address}", flush=True)
            lines = Lines(session, held)
            work = [asyncio.create_task(lines.obey()), asyncio.create_task(tell(session, acts, lines))]
            await session.run(seconds)
            for task in (*work, *([filming] if filming else [])):
                task.cancel()
    finally:
        await simulated.stop()


def scenario(procedure: str, quiet: bool) -> str:
    """The procedure's scenario; quiet = without the simulated operator, so that the test is the operator."""
    path = config_file("scenarios", procedure)
    if not quiet:
        return str(path)
    text = path.read_text(encoding="utf-8")
    begin = text.find("acts = [")
    if begin >= 0:
        text = text[:begin] + text[text.index("\n]", begin) + 2 :]
    copy = os.path.join(os.environ["STAGE_FOLDER"], f"{procedure}.toml")
    with open(copy, "w", encoding="utf-8") as out:
        out.write(text)
    return copy


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2])))
