"""Pages of Debian's Chromium on the real service with the simulated room.

One service, one Chromium and one page of the operator serve the whole folder; a test that needs more opens it. What
a test waits for it waits for by its condition, with time enough for a machine that is many times as slow.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
QUIET = ["quic", "gpu", "background-networking", "component-update", "sync"]
ARGS = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
WIDE = {"width": 1280, "height": 720}
PATIENCE_S = 60.0
TRIES = 3
TOKEN = "a-token-of-this-site-1"
STORE = "import('/static/app/store.js').then(({ store }) => %s)"
NOTE = "document.querySelector('footer .note').textContent"
PHASE = "document.getElementById('phase').textContent"
KEPT = contextlib.ExitStack()  # what lives until the last test of this folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the folder's last test its service and browser end: other folders need the processor."""
    yield
    if nextitem is None or HERE not in nextitem.path.parents:
        KEPT.close()


class Stage:
    """The service and its simulated room in one subprocess, which a test may kill and start again."""

    def __init__(self, folder: Path, procedure: str, seconds: float, **variables: str) -> None:
        self._words = [sys.executable, str(HERE / "stage.py"), procedure, str(seconds)]
        self._environment = {**os.environ, "STAGE_FOLDER": str(folder), **variables}
        self.start()

    def start(self) -> None:
        """Start it, or start it again after its end; a simulated room that is not up in time gets another try."""
        line = next(filter(None, (self._address() for _ in range(TRIES))), "")
        assert line, "the service ended before it gave an address"
        self.address = line.split()[1]
        self.plain_address, _, self.token = self.address.partition("#token=")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _address(self) -> str:
        self.process = subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=self._environment, process_group=0,
        )  # fmt: skip
        self.told: dict[str, Any] = {}
        assert self.process.stdout is not None
        line = "-"
        while line and not line.startswith("console: "):
            line = self.process.stdout.readline()
        if not line:
            self._close()
        return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told = json.loads(line)

    def say(self, line: str) -> None:
        """One line to the stage."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, good: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until what the stage tells is `good`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.told and good(self.told):
                return self.told
            time.sleep(0.02)
        raise AssertionError(f"not reached: {self.told}")

    def acts(self, verb: str) -> int:
        """How often the core was given an act so far."""
        return int(self.wait(lambda told: "acts" in told)["acts"].get(verb, 0))

    def finish(self) -> None:
        """Let the session end as an operator ends it, with a whole recording."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0
        self.end()

    def end(self) -> None:
        """Whole process group, for sure."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self._reader.join(5)
        self._close()

    def _close(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(autouse=True)
def no_leaked_tasks() -> None:
    """Playwright's own loop runs in this thread: pages close in their fixtures, and asyncio stays out of here."""


@pytest.fixture(scope="session")
def browser(chromium: Path, skip: Callable[[str], None]) -> Browser:
    """One Chromium for the folder."""
    if not (ROOT / "guidance/console/static/vendor/preact-htm.js").exists():
        skip("the console's browser files are not installed (scripts/console-files.sh)")
    play = KEPT.enter_context(sync_playwright())
    one = play.chromium.launch(executable_path=str(chromium), args=ARGS)
    KEPT.callback(one.close)
    return one


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """One service with a room camera for the folder, at a port and with a token that stay over a restart."""
    one = Stage(
        tmp_path_factory.mktemp("stage"), "hifu_liver", 3600, STAGE_CALM="1", STAGE_CAMERA="1",
        GUIDANCE_OPERATOR_TOKEN=TOKEN, GUIDANCE_CONSOLE_PORT=str(free_port()),
    )  # fmt: skip
    KEPT.callback(one.end)
    return one


class Watched:
    """A page and what it did wrong: console errors, exceptions, violations of its policy."""

    def __init__(self, browser: Browser, expected: str = "^$", size: dict[str, int] = WIDE, **options: Any) -> None:
        self.context = browser.new_context(viewport=size, **options)  # type: ignore[arg-type]
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1e3)
        self.faults: list[str] = []
        self.expected = re.compile(expected)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective))"
        )

    def _said(self, message: Any) -> None:
        if message.type == "error" and not self.expected.search(message.text):
            self.faults.append(message.text)

    def take_faults(self) -> list[str]:
        """What went wrong since the last time."""
        found, self.faults = self.faults, []
        return found


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages that fail the test when they print an error; closes them after it."""
    pages: list[Watched] = []

    def opened(address: str, size: dict[str, int] = WIDE, expected: str = "^$", **options: Any) -> Page:
        pages.append(Watched(browser, expected, size, **options))
        pages[-1].page.goto(address)
        return pages[-1].page

    yield opened
    for one in pages:
        one.page.goto("about:blank")  # so that the page signs off before its context goes
        one.context.close()
    faults = [fault for one in pages for fault in one.faults]
    assert not faults, faults


@pytest.fixture(scope="session")
def operator(browser: Browser) -> Watched:
    """The operator's page of the folder."""
    one = Watched(browser)
    KEPT.callback(one.context.close)
    return one


# everything that a person can have set on the page, as it was at the beginning
AS_NEW = """async () => {
  const { set, store } = await import('/static/app/store.js');
  document.documentElement.dataset.theme = 'dark';
  const center = store.welcome.plan.targets[0].center_mm;
  Object.assign(store, { crosshair: center, center, zoom: 1, window: {}, drawer: null });
  set({ step: 'monitor', theme: 'dark', enlarged: '', layer: 'temperature', opacity: 0.65, follow: 'target', open: '',
    placing: false, tool: '', liveChoice: 0, lower: '' }); }"""


@pytest.fixture
def page(operator: Watched, stage: Stage) -> Iterator[Page]:
    """The operator's page: live, as new, in control, nothing alarming; it fails the test when it prints an error."""
    page = operator.page
    if page.url != stage.plain_address:
        page.goto(stage.address)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.emulate_media(reduced_motion="no-preference")
    live(page)
    page.evaluate(AS_NEW)
    take_control(page)
    silence(page, stage)
    operator.take_faults()
    yield page
    faults = operator.take_faults()
    assert not faults, faults


def live(page: Page) -> None:
    """Wait until the page is live and has its first state."""
    until(page, STORE % "store.live && store.state !== null && Boolean(document.querySelector('footer'))")


def take_control(page: Page) -> None:
    """Touch the page and take control, from a page that just went too."""
    end = time.monotonic() + PATIENCE_S
    mine = "Boolean(document.querySelector('header button[aria-pressed=true]'))"
    page.keyboard.press("Shift")  # sound is allowed once the page was touched
    while not page.evaluate(mine):
        assert time.monotonic() < end, page.locator("header").inner_text()
        ask(page, {"kind": "control", "take": True})
        with contextlib.suppress(AssertionError):
            until(page, mine, 1.0)


def until(page: Page, expression: str, seconds: float = PATIENCE_S) -> Any:
    """Ask the page again and again: Playwright's own waiting needs eval, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = page.evaluate(expression)
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not reached in {seconds} s: {expression}")


def step(page: Page, name: str) -> None:
    """Go to a step."""
    page.locator("nav button", has_text=re.compile(f"^{name}")).click()
    until(page, f"document.querySelector('nav [aria-current=page]').textContent.startsWith('{name}')")


# finish, acknowledge and reset until nothing is shown and the room is idle, each act once the last was answered
HUSH = """async (seconds) => {
  const { store } = await import('/static/app/store.js');
  const { act } = await import('/static/app/link.js');
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const { alarms, phase } = store.state;
    if (!alarms.length && phase === 'IDLE' && !document.querySelector('.alarm')) return '';
    if (['READY', 'TREATING', 'HOLD'].includes(phase)) await act('FINISH');
    else if (alarms.some((a) => a.state === 'active')) await act('ACKNOWLEDGE', { values: { alarm: '' } });
    else await act('RESET');
    await new Promise((done) => { setTimeout(done, 60); });
  }
  return JSON.stringify([store.state.phase, store.state.alarms, store.verdict]); }"""


def silence(page: Page, stage: Stage) -> None:
    """Let all facts go, acknowledge and reset everything, so that what comes next begins quiet."""
    stage.say("free")
    left = page.evaluate(HUSH, PATIENCE_S)
    assert not left, left


def raise_alarm(page: Page, stage: Stage, priority: str, line: str) -> None:
    """Hold a fact at a value and wait until its alarm stands on the page's row."""
    stage.say(line)
    try:
        page.locator(f".alarm.{priority}").wait_for()
    except TimeoutError as fault:
        shown = page.evaluate(STORE % "store.state.alarms")
        raise AssertionError(f"{line} raised no {priority} alarm; shown are {shown}") from fault


def ask(page: Page, message: dict[str, Any]) -> Any:
    """A question of the page's own link, and its answer."""
    return page.evaluate("(m) => import('/static/app/link.js').then((l) => l.ask(m))", message)


def ready(page: Page) -> None:
    """In control, tone heard, nothing missing."""
    if not page.evaluate(STORE % "store.heardTone"):
        page.get_by_role("button", name="test tone").click()
        page.get_by_role("button", name="I heard it").click()
    until(page, STORE % "store.state.phase === 'IDLE' && store.state.steps.control.length === 0")


def confirm(page: Page, verb: str) -> None:
    """Both steps of an act, by the page's own buttons; the second is pressed once it has been read."""
    for _ in range(5):
        page.get_by_role("button", name=f"{verb}...").click()
        second = page.get_by_role("button", name=f"CONFIRM {verb}")
        second.wait_for()
        page.wait_for_timeout(500)  # what comes sooner was not read, and the core refuses it
        if not second.is_enabled():  # something was missing at that moment
            page.get_by_role("button", name="Cancel").click()
            continue
        second.click()
        until(page, "!document.querySelector('.drawer')")
        if page.evaluate(NOTE) == f"{verb} confirmed":
            return
    raise AssertionError(f"{verb}: {page.evaluate(NOTE)}")
