"""Pages of Debian's Chromium on the real service with the simulated room."""

import contextlib
import json
import os
import re
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


class Stage:
    """The service and its simulated room in one subprocess; ends with the test."""

    def __init__(self, folder: Path, procedure: str, seconds: float, **variables: str) -> None:
        environment = {**os.environ, "STAGE_FOLDER": str(folder), **variables}
        words = [sys.executable, str(HERE / "stage.py"), procedure, str(seconds)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=environment, process_group=0,
        )  # fmt: skip
        self.told: dict[str, Any] = {}
        assert self.process.stdout is not None
        line = ""
        while not line.startswith("console: "):
            line = self.process.stdout.readline()
            assert line, "the service ended before it gave an address"
        self.address = line.split()[1]
        self.plain_address, _, self.token = self.address.partition("#token=")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told = json.loads(line)

    def say(self, line: str) -> None:
        """One line to the stage."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, good: Callable[[dict[str, Any]], bool], seconds: float = 10.0) -> dict[str, Any]:
        """Wait until what the stage tells is `good`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.told and good(self.told):
                return self.told
            time.sleep(0.05)
        raise AssertionError(f"not reached: {self.told}")

    def end(self) -> None:
        """Whole process group, for sure."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(autouse=True)
def no_leaked_tasks() -> None:
    """Playwright's own loop runs in this thread: pages close in their fixtures, and asyncio stays out of here."""


@pytest.fixture(scope="module")
def browser(chromium: Path, skip: Callable[[str], None]) -> Iterator[Browser]:
    """One Chromium for the tests of a file."""
    if not (ROOT / "guidance/console/static/vendor/preact-htm.js").exists():
        skip("the console's browser files are not installed (scripts/console-files.sh)")
    with sync_playwright() as play:
        one = play.chromium.launch(executable_path=str(chromium), args=ARGS)
        yield one
        one.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One service for the tests of a file."""
    one = Stage(tmp_path_factory.mktemp("stage"), "hifu_liver", 1200, STAGE_CALM="1")
    yield one
    one.end()


class Faults(list[str]):
    """What a page did wrong: console errors, exceptions, violations of its policy."""


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages that fail the test when they print an error; closes them after it."""
    contexts = []
    faults = Faults()

    def opened(address: str, size: dict[str, int] = WIDE, expected: str = "^$", **options: Any) -> Page:
        context = browser.new_context(viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        wanted = re.compile(expected)

        def said(message: Any) -> None:
            if message.type == "error" and not wanted.search(message.text):
                faults.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective))"
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults, faults


def live(page: Page, seconds: float = 15.0) -> None:
    """Wait until the page is live and has its first state."""
    page.wait_for_selector("body:not(.lapsed)", timeout=seconds * 1e3)
    page.wait_for_selector("#phase", timeout=seconds * 1e3)


def take_control(page: Page) -> None:
    """Touch the page, take control, hear the tone."""
    page.get_by_role("button", name="TAKE CONTROL").click()
    page.wait_for_selector("header button[aria-pressed=true]")


def until(page: Page, expression: str, seconds: float = 10.0) -> Any:
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


def silence(page: Page, stage: Stage) -> None:
    """Acknowledge and reset everything, so that the next test begins quiet."""
    stage.say("free")
    for _ in range(60):
        page.keyboard.press("a")
        page.wait_for_timeout(120)
        quiet = page.evaluate(
            """() => { const row = [...document.querySelectorAll('footer button')];
            const reset = row.find((b) => b.textContent === 'RESET' && !b.disabled);
            if (reset) reset.click();
            return !reset && !document.querySelector('.alarm'); }"""
        )
        if quiet:
            return


def raise_alarm(page: Page, stage: Stage, priority: str, line: str) -> None:
    """Hold a fact at a value and wait until its alarm stands on the page's row."""
    stage.say(line)
    try:
        page.locator(f".alarm.{priority}").wait_for(timeout=12_000)
    except TimeoutError as fault:
        shown = page.evaluate("import('/static/app/store.js').then((m) => m.store.state.alarms)")
        raise AssertionError(f"{line} raised no {priority} alarm; shown are {shown}") from fault


def ask(page: Page, message: dict[str, Any]) -> Any:
    """A question of the page's own link, and its answer."""
    return page.evaluate("(m) => import('/static/app/link.js').then((l) => l.ask(m))", message)
