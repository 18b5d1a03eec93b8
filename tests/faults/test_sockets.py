"""Campaigns B and C in small: over real sockets through the fault proxy, and with real processes."""

import asyncio

import numpy as np
import pytest

from guidance.faults.process_run import run_process_cases
from guidance.faults.proxy import SPOILS, Proxy
from guidance.faults.score import Outcome
from guidance.faults.socket_run import run_socket_cases


def missed(outcome: Outcome) -> list[object]:
    return [row for row in outcome.findings if row.missed] + list(outcome.false_stops)


@pytest.mark.slow
def test_faults_on_the_wire_are_seen_in_time() -> None:
    rows = list(run_socket_cases([11, 6, 18], ""))
    assert not [(seed, words, missed(outcome)) for seed, words, outcome in rows if missed(outcome)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
def test_processes_that_die_are_survived(seed: int) -> None:
    rows = list(run_process_cases([seed], ""))
    assert not [(number, words, missed(outcome)) for number, words, outcome in rows if missed(outcome)]


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("kind", sorted(SPOILS))
async def test_the_proxy_spoils_and_mends(kind: str, both_ways: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())  # what came back is not what was sent: nobody else can have said it
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = Proxy(*server.sockets[0].getsockname()[:2])
    host, _, port = (await proxy.start()).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"sound")
    assert await reader.readexactly(5) == b"SOUND"
    proxy.spoil(kind, np.random.default_rng(1), both_ways)
    writer.write(b"x" * 50)
    found = b""
    try:
        async with asyncio.timeout(0.35):
            while piece := await reader.read(1 << 17):
                found += piece
    except (TimeoutError, ConnectionError):
        pass
    if kind == "split":
        assert found == b"X" * 50
    elif kind not in ("delay", "drop"):
        assert found != b"X" * 50
    proxy.mend()
    writer.close()
    again, other = await asyncio.open_connection(host, int(port))
    other.write(b"mended")
    assert await asyncio.wait_for(again.readexactly(6), 5) == b"MENDED"
    other.close()
    await proxy.stop()
    server.close()
