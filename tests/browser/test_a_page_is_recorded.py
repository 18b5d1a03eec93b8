"""What a person did on the page is in the recording, and the core does the same again.

Runs first: it measures a room of its own, where no fact is held, before the folder's one stands beside it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError

from guidance.events import Act
from guidance.recording.reader import Recording
from guidance.replay import check
from tests.browser.conftest import PHASE, TRIES, Stage, confirm, live, ready, silence, take_control, until

pytestmark = [pytest.mark.peers, pytest.mark.slow]
SOON_S = 10.0
DRIVEN = ("ARM", "START", "HOLD", "STOP", "RESET")


def drive(page: Page, stage: Stage) -> None:
    """Arm and start in two steps each, hold, stop, reset."""
    silence(page, stage)
    ready(page)
    for verb, phase in (("ARM", "READY"), ("START", "TREATING")):
        confirm(page, verb)
        until(page, f"{PHASE} === '{phase}'", SOON_S)
    page.get_by_role("button", name="GATE HOLD").click()
    until(page, f"{PHASE} === 'HOLD'", SOON_S)
    page.keyboard.press("Space")
    until(page, f"{PHASE} === 'STOPPED'", SOON_S)
    page.get_by_role("button", name="RESET", exact=True).click()
    until(page, f"{PHASE} === 'IDLE'", SOON_S)


def test_a_session_that_a_page_drove_replays_identically(tmp_path: Path, open_page: Callable[..., Page]) -> None:
    stage = Stage(tmp_path, "hyperthermia_release", 300, STAGE_RECORD="1")
    try:
        page = open_page(stage.address)
        live(page)
        take_control(page)
        page.set_default_timeout(SOON_S * 1e3)
        for left in reversed(range(TRIES)):  # a machine that is busy stops the room by itself
            try:
                drive(page, stage)
                break
            except (AssertionError, TimeoutError):
                if not left:
                    raise
        page.goto("about:blank")  # the page leaves before the service does
        stage.finish()
    finally:
        stage.end()
    (recording,) = tmp_path.glob("*.mcap")
    acts = [event for event, _ in Recording(recording).steps() if isinstance(event, Act)]
    assert set(DRIVEN) <= {act.verb for act in acts}
    assert {act.role for act in acts if act.verb in DRIVEN} == {"operator"}
    assert len({act.console for act in acts if act.verb in DRIVEN}) == 1
    report = check(recording)
    assert report.ok, report.faults
    assert report.steps > len(acts)
