"""How long a picture takes from its arrival to the screen of the console, and whether the page's memory stays flat.

    .venv/bin/python -m scripts.console_latency [SECONDS] [STALLED]

The demonstration room (ultrasound 512x512 at 30 Hz, thermometry 128x128x5 at 5 Hz, four tools at 100 Hz), its
simulated devices, the service and a Chromium that draws in software, all on this machine; 1280x720.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import CDPSession, Page, sync_playwright
from websockets.sync.client import ClientConnection as Connection
from websockets.sync.client import connect

from tests.browser.conftest import ARGS, WIDE, Stage, live

WARM_S = 9.0
SAMPLE_S = 5.0
SETTLED = 0.3  # of the run, after which memory is compared: pools and histories have filled
FRAMES = ("Ultrasound", "volume")
LIMITS_MS = {"p50": 30.0, "p99": 100.0}
# Every receipt that the page sends says that a frame was drawn: its age at that moment, by this machine's one clock.
WATCH = """() => { window.drawn = []; const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  if (typeof text === 'string' && text.startsWith('{"kind":"drawn"')) {
    const { stream, receive_ns } = JSON.parse(text);
    window.drawn.push([stream, performance.timeOrigin + performance.now() - receive_ns / 1e6]);
  }
  return send.call(this, text); };
window.WebSocket = class extends WebSocket { constructor(...given) { super(...given);
  this.addEventListener('message', ({ data }) => { if (typeof data === 'string') return;
    const size = new DataView(data).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
    const now = performance.timeOrigin + performance.now();
    window.drawn.push([`${head.stream} at the page`, now - head.receive_ns / 1e6]);
  }); } }; }"""


def heap_mb(session: CDPSession) -> float:
    """The page's JavaScript heap after a collection."""
    session.send("HeapProfiler.collectGarbage")
    rows = session.send("Performance.getMetrics")["metrics"]
    return float(next(row["value"] for row in rows if row["name"] == "JSHeapUsedSize")) / 2**20


class Stalled:
    """Clients that ask for everything and read nothing; one that the service closed comes again."""

    def __init__(self, stage: Stage, count: int) -> None:
        self._address = stage.plain_address.replace("http", "ws") + "feed"
        self._origin: Any = stage.plain_address.rstrip("/")
        self._sockets = [self._open() for _ in range(count)]

    def _open(self) -> Connection:
        one = connect(self._address, origin=self._origin, max_queue=1, max_size=None, ping_interval=None)
        one.send('{"kind": "hello", "token": ""}')
        return one

    def renew(self) -> None:
        """All of them come anew: the service closes who does not answer its pings."""
        self.close()
        self._sockets = [self._open() for _ in self._sockets]

    def close(self) -> None:
        """They go without a word."""
        for socket in self._sockets:
            socket.close_socket()


def watch(page: Page, session: CDPSession, stage: Stage, stalled: Stalled, seconds: float) -> dict[str, Any]:
    """Ages at drawing by stream, and memory by the second."""
    ages: dict[str, list[float]] = {}
    memory: list[tuple[float, float, float]] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        page.wait_for_timeout(min(SAMPLE_S, seconds) * 1e3)
        for stream, age in page.evaluate("window.drawn.splice(0)"):
            ages.setdefault(stream, []).append(age)
        stalled.renew()
        if seconds > 60:  # collecting garbage takes time of its own
            memory.append((time.monotonic() - began, heap_mb(session), stage.told["memory_mb"]))
    return {"ages": ages, "memory": memory, "seconds": time.monotonic() - began}


def rows_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table: latency of each stream, frames a second, growth of memory."""
    rows: list[dict[str, Any]] = []
    for stream, ages in sorted(found["ages"].items()):
        if stream.split()[0] not in FRAMES:
            continue
        at_page = stream.endswith("at the page")
        for name, share in (("p50", 50), ("p99", 99)):
            value = float(np.percentile(ages, share))
            row = {"name": f"{stream}{'' if at_page else ' drawn'}, {name}", "value": value, "unit": "ms"}
            rows.append(row if at_page else row | {"limit": LIMITS_MS[name], "ok": value <= LIMITS_MS[name]})
        if not at_page:
            rows.append({"name": f"{stream} drawn", "value": len(ages) / found["seconds"], "unit": "1/s"})
    settled = [row for row in found["memory"] if row[0] >= SETTLED * found["seconds"]]
    if len(settled) > 3:
        minutes = np.array([row[0] / 60.0 for row in settled])
        for column, name in ((1, "page"), (2, "service")):
            slope = float(np.polyfit(minutes, [row[column] for row in settled], 1)[0])
            rows.append({"name": f"memory of the {name}", "value": settled[-1][column], "unit": "MB"})
            rows.append({"name": f"growth of the {name}", "value": slope, "unit": "MB/min", "limit": 1.0,
                         "ok": slope <= 1.0})  # fmt: skip
    return rows


def measure(seconds: float, stalled: int) -> list[dict[str, Any]]:
    """One run; `stalled` further clients ask for everything and read nothing."""
    with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        stage = Stage(Path(folder), "hifu_liver", WARM_S + seconds + 60, STAGE_APART="1")
        try:
            page = browser.new_page(viewport=WIDE)  # type: ignore[arg-type]
            page.add_init_script(f"({WATCH})()")
            page.goto(stage.plain_address)
            live(page)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            others = Stalled(stage, stalled)
            page.wait_for_timeout(WARM_S * 1e3)
            page.evaluate("window.drawn.splice(0).length")
            try:
                return rows_of(watch(page, session, stage, others, seconds))
            finally:
                others.close()
        finally:
            stage.end()
            browser.close()


if __name__ == "__main__":
    arguments = [float(word) for word in sys.argv[1:]]
    table = measure(arguments[0] if arguments else 60.0, int(arguments[1]) if len(arguments) > 1 else 0)
    print(json.dumps(table, indent=1))
