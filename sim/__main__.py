"""`python -m sim SCENARIO`: the simulated devices alone, in real time, on the links of the scenario.

Prints one line of JSON when all links are open, `{"ready": {link: address}}`, and one when it ends,
`{"done": {...}}`. SIGTERM and SIGINT end it within a second.
"""

import argparse
import asyncio
import gc
import json
import signal
import sys
from typing import Any

import uvloop

from devices.clock import SystemClock
from devices.errors import DeviceError
from sim.errors import ScenarioError
from sim.runner import Runner, RunnerOptions
from sim.scenario import Room, build, load


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sim", description="Simulated or recorded devices on loopback.")
    parser.add_argument("scenario", help="a name in config/scenarios, or a TOML file")
    parser.add_argument("--seed", type=int, default=None, help="another seed than the scenario's")
    parser.add_argument("--bind", action="append", default=[], metavar="LINK=HOST:PORT", help="address of one link")
    parser.add_argument("--duration", type=float, default=None, metavar="S", help="end after so many seconds")
    parser.add_argument("--only", default="", metavar="LINK,...", help="run only the devices on these links")
    return parser.parse_args(argv)


def _binds(rows: list[str], links: set[str]) -> dict[str, str]:
    binds: dict[str, str] = {}
    for row in rows:
        link, mark, address = row.partition("=")
        if not mark or link not in links or ":" not in address:
            raise ScenarioError(f"--bind {row!r} is not LINK=HOST:PORT with a link among {sorted(links)}")
        binds[link] = address
    return binds


def _build_for_now(values: dict[str, Any], seed: int | None, clock: SystemClock) -> Room:
    """A room that begins just after it is built: a first one warms every kernel and cache and is thrown away."""
    first = build(values, seed=seed, start_ns=clock.now_ns())
    for peer in first.peers:
        peer.advance(peer.next_due_ns())
    world = first.truth.world  # compiled at the first watt, heat and cold would keep every device silent for seconds
    world.drive(world.start_ns, 1.0, world.target_mm)
    world.advance_to(world.start_ns + 1_000_000_000)
    before_ns = clock.now_ns()
    build(values, seed=seed, start_ns=before_ns)
    return build(values, seed=seed, start_ns=2 * clock.now_ns() - before_ns)


async def _run(room: Room, clock: SystemClock, options: RunnerOptions) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    runner = Runner(room, clock, options)
    try:
        addresses = await runner.start()
        print(json.dumps({"ready": addresses}), flush=True)
        gc.collect()
        gc.freeze()
        runner.go()
        await runner.until(ended)
    finally:
        await runner.stop()
    print(json.dumps({"done": runner.summary()}), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run a scenario; 0 when it ended as asked, 2 for a scenario or a link that cannot be used."""
    arguments = _arguments(argv)
    sys.setswitchinterval(0.0005)
    clock = SystemClock()
    try:
        room = _build_for_now(load(arguments.scenario), arguments.seed, clock)
        links = {row.id for row in room.scenario.links}
        only = frozenset(filter(None, arguments.only.split(",")))
        if only - links:
            raise ScenarioError(f"--only names {sorted(only - links)}; the scenario has {sorted(links)}")
        options = RunnerOptions(_binds(arguments.bind, links), only, arguments.duration)
        uvloop.run(_run(room, clock, options))
    except (ScenarioError, DeviceError) as fault:
        print(f"sim: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
