"""Half an hour of a link at full load: memory and descriptors flat, every packet counted at both ends."""

import asyncio
import os
import socket
import struct
from typing import Any

import psutil

from devices.openigtlink import OpenIGTLinkLink
from guidance.bench.links import serve

SECONDS = float(os.environ.get("GUIDANCE_SOAK_S", "1800"))
GROWTH_MIB = 24.0


class Watch:
    """Memory, descriptors and tasks once a second; some peers come, misbehave and go meanwhile."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, int]] = []
        self.visits = 0
        self._process = psutil.Process()

    def __call__(self, link: OpenIGTLinkLink) -> None:
        self.samples.append(
            (self._process.memory_info().rss / 2**20, self._process.num_fds(), len(asyncio.all_tasks()))
        )
        for number in range(5):
            with socket.create_connection(link.address) as peer:
                if number == 1:
                    peer.sendall(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n" * 4)
                elif number == 2:
                    peer.sendall(b"\0\1TRANSFORM" + bytes(60))
                elif number == 3:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.visits += 1


async def test_the_link_stays_flat_under_full_load() -> None:
    watch = Watch()
    served = await serve(200, 8, 20, SECONDS, watch)
    warm = watch.samples[len(watch.samples) // 5 :]
    memory, descriptors, tasks = ([sample[index] for sample in warm] for index in range(3))
    half = len(memory) // 2
    report: dict[str, Any] = {
        "memory_mib": (round(min(memory), 1), round(max(memory), 1)),
        "memory_by_tenths_mib": [
            round(max(memory[len(memory) * k // 10 : len(memory) * (k + 1) // 10]), 1) for k in range(10)
        ],
        "descriptors": (min(descriptors), max(descriptors)),
        "tasks": (min(tasks), max(tasks)),
        "visits": watch.visits,
        "alerts": served.alerts,
        "queued_mib": round(served.queued_bytes / 2**20, 1),
    }
    print(report)
    assert max(memory[half:]) - max(memory[:half]) < GROWTH_MIB, report
    assert max(descriptors[half:]) <= max(descriptors[:half]) + 8, report  # visitors in passing
    assert max(tasks[half:]) <= max(tasks[:half]), report  # visitors in passing
    assert served.report["ended"] == []
    assert served.uncounted() == []
    assert all(row["STRING"] == served.alerts for row in (*served.report["slow"], *served.report["full"]))
