"""Half an hour of a link at full load: memory and descriptors flat, every packet counted at both ends."""

import asyncio
import os
import socket
import struct
from collections import deque
from typing import Any

import psutil

from devices.openigtlink import OpenIGTLinkLink
from guidance.bench.links import serve

SECONDS = float(os.environ.get("GUIDANCE_SOAK_S", "1800"))
GROWTH_MIB = 4.0
MUTE_S = 20  # for so long one that never reads holds its end open; the link closes it after 2.5 s


class Watch:
    """Memory, descriptors, tasks and peers once a second; some peers come, misbehave and go meanwhile."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, int, int]] = []
        self.visits = 0
        self._process = psutil.Process()
        self._mute: deque[socket.socket] = deque()

    def __call__(self, link: OpenIGTLinkLink) -> None:
        memory_mib = self._process.memory_info().rss / 2**20
        self.samples.append((memory_mib, self._process.num_fds(), len(asyncio.all_tasks()), len(link.peers)))
        for number in range(5):
            with socket.create_connection(link.address) as peer:
                if number == 1:
                    peer.sendall(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n" * 4)
                elif number == 2:
                    peer.sendall(b"\0\1TRANSFORM" + bytes(60))
                elif number == 3:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._mute.append(socket.create_connection(link.address))  # never reads: the link closes it, not we
        self.visits += 6
        if len(self._mute) > MUTE_S:
            self._mute.popleft().close()

    def close(self) -> None:
        """Let the mute ones go."""
        for peer in self._mute:
            peer.close()


async def test_the_link_stays_flat_under_full_load() -> None:
    watch = Watch()
    served = await serve(200, 8, 0, SECONDS, watch)
    watch.close()
    warm = watch.samples[len(watch.samples) // 5 :]
    memory, descriptors, tasks, peers = ([sample[index] for sample in warm] for index in range(4))
    half = len(memory) // 2
    report: dict[str, Any] = {
        "memory_mib": (round(min(memory), 1), round(max(memory), 1)),
        "memory_by_tenths_mib": [
            round(max(memory[len(memory) * k // 10 : len(memory) * (k + 1) // 10]), 1) for k in range(10)
        ],
        "descriptors": (min(descriptors), max(descriptors)),
        "tasks": (min(tasks), max(tasks)),
        "peers": (min(peers), max(peers)),
        "visits": watch.visits,
        "alerts": served.alerts,
        "queued_mib": round(served.queued_bytes / 2**20, 1),
    }
    print(report)
    assert max(memory[half:]) - max(memory[:half]) < GROWTH_MIB, report
    assert max(descriptors[half:]) <= max(descriptors[:half]) + 8, report  # visitors in passing
    assert max(tasks[half:]) <= max(tasks[:half]), report  # visitors in passing
    assert max(peers) <= 208 + 10, report
    assert served.report["ended"] == []
    assert served.uncounted() == []
    assert all(row["STRING"] == served.alerts for row in (*served.report["slow"], *served.report["full"]))
