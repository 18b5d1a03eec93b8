"""Acts on the page: arming to treatment, points, baseline, power, escalation, the record, stalled readers."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from websockets.sync.client import connect

from tests.browser.conftest import ROOT, Stage, ask, live, raise_alarm, silence, step, take_control, until

pytestmark = [pytest.mark.peers, pytest.mark.slow]
Open = Callable[..., Page]
STEPS = ("Plan", "Target", "Monitor", "Control", "Verify", "Connections")
STORE = "import('/static/app/store.js').then(({ store }) => %s)"
TICKET_S = 3.0
UNSEEN_MS = 1500.0
NOTE = "document.querySelector('footer .note').textContent"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A room whose alarms escalate soon and whose tickets live for three seconds."""
    one = Stage(
        tmp_path_factory.mktemp("stage"), "hifu_liver", 900,
        STAGE_LIMITS=json.dumps({"alarm_unseen_ms": UNSEEN_MS}), STAGE_TICKET_S=str(TICKET_S), STAGE_CALM="1",
    )  # fmt: skip
    yield one
    one.end()


def ready(page: Page, stage: Stage) -> None:
    """In control, tone heard, nothing stopped, nothing missing."""
    live(page)
    take_control(page)
    silence(page, stage)
    page.get_by_role("button", name="test tone").click()
    page.get_by_role("button", name="I heard it").click()
    until(page, STORE % "store.state.phase === 'IDLE' && store.state.steps.control.length === 0", 20)


def confirm(page: Page, verb: str) -> None:
    """Both steps of an act, by the page's own buttons; the second is pressed once it has been read."""
    for _ in range(5):
        page.get_by_role("button", name=f"{verb}...").click()
        page.wait_for_timeout(700)
        second = page.get_by_role("button", name=f"CONFIRM {verb}")
        if second.count() and second.is_enabled():
            second.click()
            until(page, "!document.querySelector('.drawer')", 6)
            if "confirmed" in page.evaluate(NOTE):
                return
        else:
            page.get_by_role("button", name="Cancel").click()
    raise AssertionError(f"{verb}: {page.evaluate(NOTE)}")


def test_arming_and_starting_reach_the_device_and_power_only_falls(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    ready(page, stage)
    full = stage.told["power_w"]
    page.get_by_role("button", name="less power").click()
    stage.wait(lambda told: told["power_w"] == pytest.approx(0.9 * full))
    page.get_by_role("button", name="more power").click()
    stage.wait(lambda told: told["power_w"] == pytest.approx(full))
    confirm(page, "ARM")
    until(page, "document.getElementById('phase').textContent === 'READY'")
    confirm(page, "START")
    until(page, "document.getElementById('phase').textContent === 'TREATING'")
    assert page.get_by_role("button", name="more power").is_disabled()
    page.get_by_role("button", name="less power").click()
    stage.wait(lambda told: told["power_w"] == pytest.approx(0.9 * full))
    refused = ask(page, {"kind": "act", "verb": "SET_POWER", "values": {"power_w": full}})
    assert not refused["done"] and "new arming" in refused["reasons"][0]
    page.get_by_role("button", name="GATE HOLD").click()
    until(page, "document.getElementById('phase').textContent === 'HOLD'")
    page.get_by_role("button", name="FINISH").click()
    until(page, "document.getElementById('phase').textContent === 'IDLE'")
    stage.wait(lambda told: {"ARM", "START", "HOLD", "FINISH", "SET_POWER"} <= set(told["acts"]))


def test_a_second_step_that_comes_late_is_refused(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    ready(page, stage)
    ticket = ask(page, {"kind": "prepare", "verb": "ARM"})
    page.wait_for_timeout(TICKET_S * 1e3 + 300)
    late = {"kind": "act", "verb": "ARM", "values": {}, "ticket": ticket["ticket"], "shown": ticket["shown"]}
    answer = ask(page, late)
    assert not answer["done"] and "too late" in answer["reasons"][0]


def test_points_are_placed_on_the_image_and_judged_by_the_core(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    ready(page, stage)
    until(page, STORE % "store.frames.has('volume')", 10)
    box = page.locator("[data-view=coronal]").bounding_box()
    assert box
    page.keyboard.press("p")
    page.locator("[data-view=coronal] .placing").wait_for()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    until(page, r"/T \d\d\.\d/.test(document.querySelector('[data-view=axial] .readout').textContent)", 20)
    page.keyboard.press("Enter")
    until(page, f"{NOTE}.startsWith('PLACE_POINT confirmed')")
    until(page, STORE % "store.state.points.length === 1 && store.state.numbers.some((n) => n.id === 'P1.max_c')")
    page.keyboard.press("p")
    page.get_by_role("button", name="GUARD").click()
    until(page, STORE % "store.state.points.length === 2 && store.state.points[1].limit_c > 40", 15)
    axial = page.locator("[data-view=axial]").bounding_box()
    assert axial
    page.keyboard.press("p")
    page.mouse.click(axial["x"] + axial["width"] * 0.5, axial["y"] + axial["height"] * 0.05)  # far above the slices
    page.keyboard.press("Enter")
    until(page, f"{NOTE}.includes('refused') && {NOTE}.includes('outside of the image')")
    step(page, "Control")
    for left in (1, 0):
        page.get_by_role("button", name="remove").first.click()
        until(page, STORE % f"store.state.points.length === {left}", 15)
    stage.wait(lambda told: {"PLACE_POINT", "REMOVE_POINT"} <= set(told["acts"]))


def test_a_new_baseline_is_asked_for_on_the_page(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    ready(page, stage)
    page.get_by_role("button", name="new baseline").click()
    until(page, f"{NOTE}.startsWith('RE_ZERO confirmed')")
    assert stage.wait(lambda told: told["acts"].get("RE_ZERO", 0) == 1)


def test_confirmed_is_said_only_once_it_is_on_the_disk(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    ready(page, stage)
    stage.say("disk 0.5")
    page.wait_for_timeout(100)
    page.keyboard.press("Space")
    stage.wait(lambda told: told["phase"] == "STOPPED", 2)  # the stop itself waits for no disk
    until(page, f"{NOTE}.startsWith('STOP requested') || {NOTE}.startsWith('STOP confirmed')")
    until(page, f"{NOTE}.startsWith('STOP confirmed')", 2)
    stage.say("disk 30")
    page.wait_for_timeout(100)
    page.keyboard.press("Space")
    until(page, f"{NOTE}.includes('NOT ON RECORD')", 4)
    stage.say("disk 0")
    silence(page, stage)


def test_an_alarm_that_nobody_sees_calls_the_next_console(stage: Stage, open_page: Open) -> None:
    first, second = open_page(stage.address), open_page(stage.address)
    ready(first, stage)
    live(second)
    second.mouse.click(400, 200)  # sound is allowed once the page was touched
    stage.wait(lambda told: len(told["shows_alarms"]) >= 2)
    stage.say("fact stop_unconfirmed_ms Therapy 900")
    called = "(document.querySelector('.alarm .line2') || {}).textContent.includes('Nobody answered: operator-')"
    for page in (first, second):
        page.locator(".alarm.high.active").wait_for(timeout=5000)
        until(page, called, 6)
    calling = {page.evaluate(STORE % "store.state.calling") for page in (first, second)}
    actors = {page.evaluate(STORE % "store.welcome.actor") for page in (first, second)}
    assert calling <= actors
    until(first, STORE % "store.state.alarms.some((a) => a.rule.startsWith('O1'))", 4)
    second.keyboard.press("a")
    until(first, STORE % "store.state.calling === ''", 4)
    assert "acked operator" in first.locator(".alarm .line2").inner_text()
    silence(first, stage)


def test_space_stops_from_everything_that_can_have_the_focus(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    pressed = 0
    before = stage.told["acts"].get("STOP", 0)
    for name in STEPS:
        step(page, name)
        page.wait_for_timeout(120)
        count = page.evaluate(
            """() => { window.marks = [...document.querySelectorAll('button, input, [tabindex]')]
            .filter((e) => e.getBoundingClientRect().width && !e.disabled); return window.marks.length; }"""
        )
        for n in range(count):
            page.evaluate("(n) => window.marks[n].focus()", n)
            page.keyboard.press("Space")
            pressed += 1
        until(page, f"{NOTE}.startsWith('STOP confirmed')")  # the last of them is answered
    page.locator("button.stop").click()
    page.mouse.click(5, 300)
    page.keyboard.press("Space")
    pressed += 2
    assert pressed > 50
    stage.wait(lambda told: told["acts"].get("STOP", 0) - before == pressed)
    assert page.evaluate("!document.querySelector('.drawer, .card, .missing-list')"), "Space activated something"
    stage.wait(lambda told: told["phase"] == "STOPPED" and 3.0 in told["device"].values())


def test_five_stalled_readers_delay_nobody(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    ready(page, stage)
    address = stage.plain_address.replace("http", "ws") + "feed"
    before = stage.told["memory_mb"]
    stalled = [connect(address, origin=stage.plain_address.rstrip("/"), max_queue=1, max_size=None) for _ in range(5)]  # type: ignore[arg-type]
    try:
        for socket in stalled:
            socket.send('{"kind": "hello", "token": ""}')
        time.sleep(3.0)  # they never read
        frame = page.evaluate(STORE % "store.frames.get('Ultrasound').seq")
        stage.say("fact stop_unconfirmed_ms Therapy 900")
        page.locator(".alarm.high.active").wait_for(timeout=3000)
        time.sleep(2.0)
        assert page.evaluate(STORE % "store.frames.get('Ultrasound').seq") > frame + 20, "the page starves"
        grown = stage.told["memory_mb"] - before
        print("memory grown with five stalled readers, MB:", round(grown, 1))
        assert grown < 64
    finally:
        for socket in stalled:
            socket.close_socket()
    silence(page, stage)


def test_axe_finds_no_serious_fault_in_any_state(stage: Stage, open_page: Open, skip: Callable[[str], None]) -> None:
    axe = ROOT / "guidance/console/node_modules/axe-core/axe.min.js"
    if not axe.exists():
        skip("axe-core is not installed (scripts/console-files.sh)")
    page = open_page(stage.address)
    ready(page, stage)
    page.evaluate(axe.read_text(encoding="utf-8"))
    found: list[Any] = []

    def look(state: str, steps: tuple[str, ...]) -> None:
        for name in steps:
            step(page, name)
            page.wait_for_timeout(80)
            for theme in ("dark", "light"):
                rules = "axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})"
                result = page.evaluate(rules)
                found.extend(
                    (state, theme, name, v["id"], v["nodes"][0]["html"][:120], v["nodes"][0].get("failureSummary", ""))
                    for v in result["violations"]
                    if v["impact"] in ("serious", "critical")
                )
                page.keyboard.press("t")
                page.wait_for_timeout(80)

    look("none", STEPS)
    stage.say("fact stop_unconfirmed_ms Therapy 900")
    page.locator(".alarm.high.active").wait_for(timeout=5000)
    look("active", STEPS)
    page.keyboard.press("a")
    page.locator(".alarm.high.acknowledged").wait_for(timeout=5000)
    look("acknowledged", STEPS)
    stage.say("free")
    page.locator(".alarm.high.latched").wait_for(timeout=5000)
    look("latched", STEPS)
    silence(page, stage)
    for priority, line in {"low": "fact bad_messages tracker 1", "medium": "fact clock_step_ms clock 250"}.items():
        raise_alarm(page, stage, priority, line)
        look(priority, ("Monitor",))
    silence(page, stage)
    assert not found, json.dumps(found, indent=1)
