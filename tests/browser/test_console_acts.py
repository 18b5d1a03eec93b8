"""Acts on the page: arming to treatment, points, baseline, power, escalation, the record, stalled readers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page
from websockets.sync.client import connect

from tests.browser.conftest import (
    NOTE,
    PATIENCE_S,
    PHASE,
    ROOT,
    STORE,
    Stage,
    ask,
    confirm,
    live,
    raise_alarm,
    ready,
    silence,
    step,
    until,
)

pytestmark = [pytest.mark.peers, pytest.mark.slow]
Open = Callable[..., Page]
STEPS = ("Plan", "Target", "Monitor", "Control", "Verify", "Connections")


def test_arming_and_starting_reach_the_device_and_power_only_falls(stage: Stage, page: Page) -> None:
    ready(page)
    full = stage.wait(lambda told: told["phase"] == "IDLE")["power_w"]
    page.get_by_role("button", name="less power").click()
    stage.wait(lambda told: told["power_w"] == pytest.approx(0.9 * full))
    until(page, STORE % f"store.state.power < {0.95 * full}")
    page.get_by_role("button", name="more power").click()
    stage.wait(lambda told: told["power_w"] == pytest.approx(full))
    confirm(page, "ARM")
    until(page, f"{PHASE} === 'READY'")
    confirm(page, "START")
    until(page, f"{PHASE} === 'TREATING'")
    assert page.get_by_role("button", name="more power").is_disabled()
    page.get_by_role("button", name="less power").click()
    stage.wait(lambda told: told["power_w"] == pytest.approx(0.9 * full))
    refused = ask(page, {"kind": "act", "verb": "SET_POWER", "values": {"power_w": full}})
    assert not refused["done"] and "new arming" in refused["reasons"][0]
    page.get_by_role("button", name="GATE HOLD").click()
    until(page, f"{PHASE} === 'HOLD'")
    page.get_by_role("button", name="FINISH").click()
    until(page, f"{PHASE} === 'IDLE'")
    stage.wait(lambda told: {"ARM", "START", "HOLD", "FINISH", "SET_POWER"} <= set(told["acts"]))


def test_arming_needs_two_steps_in_their_time_and_what_was_shown(stage: Stage, page: Page) -> None:
    ready(page)

    def prepared(**changes: Any) -> dict[str, Any]:
        ticket = ask(page, {"kind": "prepare", "verb": "ARM"})
        shown = {**ticket["shown"], **changes}
        return {"kind": "act", "verb": "ARM", "values": {}, "ticket": ticket["ticket"], "shown": shown}

    def refusal(message: dict[str, Any]) -> str:
        answer = ask(page, message)
        assert not answer["done"]
        return str(answer["reasons"][0])

    for ticket in ({}, {"ticket": "guessed"}):
        assert "two steps" in refusal({"kind": "act", "verb": "ARM", "values": {}, **ticket})
    double = """([ask, act]) => import('/static/app/link.js').then(async (l) => {
        const ticket = await l.ask(ask);
        return l.ask({ ...act, ticket: ticket.ticket, shown: ticket.shown }); })"""
    quick = page.evaluate(double, [{"kind": "prepare", "verb": "ARM"}, {"kind": "act", "verb": "ARM", "values": {}}])
    assert not quick["done"] and "too soon" in quick["reasons"][0]
    changed = prepared(power_w=999)
    page.wait_for_timeout(500)
    assert "changed" in refusal(changed)
    stage.say("ticket 1")
    late = prepared()
    page.wait_for_timeout(1300)
    assert "too late" in refusal(late)
    assert page.evaluate(PHASE) == "IDLE"


def test_points_are_placed_on_the_image_and_judged_by_the_core(stage: Stage, page: Page) -> None:
    ready(page)
    until(page, STORE % "store.frames.has('volume')")
    box = page.locator("[data-view=coronal]").bounding_box()
    assert box
    page.keyboard.press("p")
    page.locator("[data-view=coronal] .placing").wait_for()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    until(page, r"/T \d\d\.\d/.test(document.querySelector('[data-view=axial] .readout').textContent)")
    page.keyboard.press("Enter")
    until(page, f"{NOTE}.startsWith('PLACE_POINT confirmed')")
    until(page, STORE % "store.state.points.length === 1 && store.state.numbers.some((n) => n.id === 'P1.max_c')")
    page.keyboard.press("p")
    page.get_by_role("button", name="GUARD").click()
    until(page, STORE % "store.state.points.length === 2 && store.state.points[1].limit_c > 40")
    axial = page.locator("[data-view=axial]").bounding_box()
    assert axial
    page.keyboard.press("p")
    page.locator("[data-view=axial] .placing").wait_for()
    page.mouse.click(axial["x"] + axial["width"] * 0.5, axial["y"] + axial["height"] * 0.05)  # far above the slices
    page.keyboard.press("Enter")
    until(page, f"{NOTE}.includes('refused') && {NOTE}.includes('outside of the image')")
    step(page, "Control")
    for left in (1, 0):
        page.get_by_role("button", name="remove").first.click()
        until(page, STORE % f"store.state.points.length === {left}")
    stage.wait(lambda told: {"PLACE_POINT", "REMOVE_POINT"} <= set(told["acts"]))


def test_a_new_baseline_is_asked_for_on_the_page(stage: Stage, page: Page) -> None:
    before = stage.acts("RE_ZERO")
    page.get_by_role("button", name="new baseline").click()
    until(page, f"{NOTE}.startsWith('RE_ZERO confirmed')")
    stage.wait(lambda told: told["acts"].get("RE_ZERO", 0) == before + 1)


def test_confirmed_is_said_only_once_it_is_on_the_disk(stage: Stage, page: Page) -> None:
    said = """() => { window.said = []; const note = document.querySelector('footer .note');
        new MutationObserver(() => window.said.push(note.textContent.split(':')[0]))
          .observe(note, { childList: true, characterData: true, subtree: true }); }"""
    page.evaluate(said)
    stage.say("disk 0.8")
    before = stage.acts("STOP")
    page.keyboard.press("Space")
    stage.wait(lambda told: told["acts"].get("STOP", 0) == before + 1 and told["phase"] == "STOPPED")
    until(page, f"{NOTE}.startsWith('STOP confirmed')")
    assert page.evaluate("window.said")[0] == "STOP requested", "it was confirmed before it was on the disk"
    stage.say("disk 30")
    stage.wait(lambda told: told["disk_s"] == 30)
    page.keyboard.press("Space")
    stage.wait(lambda told: told["acts"].get("STOP", 0) == before + 2)  # the stop itself waits for no disk
    until(page, f"{NOTE}.includes('NOT ON RECORD')")
    stage.say("disk 0")


def test_an_alarm_that_nobody_sees_calls_the_next_console(stage: Stage, page: Page, open_page: Open) -> None:
    second = open_page(stage.address)
    live(second)
    second.mouse.click(400, 200)  # sound is allowed once the page was touched
    stage.wait(lambda told: len(told["shows_alarms"]) >= 2)
    stage.say("unseen 1500")
    stage.say("fact stop_unconfirmed_ms Therapy 900")
    called = "(document.querySelector('.alarm .line2') || {}).textContent.includes('Nobody answered: operator-')"
    for one in (page, second):
        one.locator(".alarm.high.active").wait_for()
        until(one, called)
    calling = {one.evaluate(STORE % "store.state.calling") for one in (page, second)}
    actors = {one.evaluate(STORE % "store.welcome.actor") for one in (page, second)}
    assert calling <= actors
    until(page, STORE % "store.state.alarms.some((a) => a.rule.startsWith('O1'))")
    second.keyboard.press("a")
    until(page, STORE % "store.state.calling === ''")
    until(page, "document.querySelector('.alarm .line2').textContent.includes('acked operator')")


def stopped(stage: Stage, times: int) -> None:
    """Wait until the core was told to stop so many times, no more and no less."""
    stage.wait(lambda told: told["acts"].get("STOP", 0) >= times)
    assert stage.told["acts"]["STOP"] == times


def test_space_stops_from_everything_that_can_have_the_focus(stage: Stage, page: Page) -> None:
    pressed = 0
    before = stage.acts("STOP")
    for name in STEPS:
        step(page, name)
        marks = """() => { window.marks = [...document.querySelectorAll('button, input, [tabindex]')]
            .filter((e) => e.getBoundingClientRect().width && !e.disabled); return window.marks.length; }"""
        for n in range(page.evaluate(marks)):
            page.evaluate("(n) => window.marks[n].focus()", n)
            page.keyboard.press("Space")
            pressed += 1
        stopped(stage, before + pressed)
    page.locator("button.stop").click()
    page.mouse.click(5, 300)
    page.keyboard.press("Space")
    pressed += 2
    assert pressed > 50
    stopped(stage, before + pressed)
    until(page, f"{NOTE}.startsWith('STOP confirmed')")
    assert page.evaluate("!document.querySelector('.drawer, .card, .missing-list')"), "Space activated something"
    stage.wait(lambda told: told["phase"] == "STOPPED" and 3.0 in told["device"].values())


def test_five_stalled_readers_delay_nobody(stage: Stage, page: Page) -> None:
    address = stage.plain_address.replace("http", "ws") + "feed"
    before = stage.wait(lambda told: "memory_mb" in told)["memory_mb"]
    seq = STORE % "store.frames.get('Ultrasound').seq"
    stalled = [connect(address, origin=stage.plain_address.rstrip("/"), max_queue=1, max_size=None) for _ in range(5)]  # type: ignore[arg-type]
    try:
        for socket in stalled:
            socket.send('{"kind": "hello", "token": ""}')
        page.wait_for_timeout(2000)  # they never read
        first = page.evaluate(seq)
        stage.say("fact stop_unconfirmed_ms Therapy 900")
        page.locator(".alarm.high.active").wait_for()
        until(page, STORE % f"store.frames.get('Ultrasound').seq > {first} + 5", 2 * PATIENCE_S)  # it does not starve
        grown = stage.told["memory_mb"] - before
        print("memory grown with five stalled readers, MB:", round(grown, 1))
        assert grown < 64
    finally:
        for socket in stalled:
            socket.close_socket()


# axe on what a state changes, in both themes; what it found
LOOK = """async (parts) => {
  const { toggleTheme } = await import('/static/app/keys.js');
  const rows = [];
  for (let n = 0; n < 2; n += 1) {
    const within = parts.length ? { include: parts.map((part) => [part]) } : document;
    const options = { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] };
    const { violations } = await axe.run(within, options);
    rows.push(...violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => (
      [document.documentElement.dataset.theme, v.id, v.nodes[0].html.slice(0, 120), v.nodes[0].failureSummary])));
    toggleTheme();
    await new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); });
  }
  return rows; }"""
CHANGED = ["header", ".alarms", "aside", "footer"]  # what an alarm's state can change on any step


def test_axe_finds_no_serious_fault_in_any_state(stage: Stage, page: Page, skip: Callable[[str], None]) -> None:
    axe = ROOT / "guidance/console/node_modules/axe-core/axe.min.js"
    if not axe.exists():
        skip("axe-core is not installed (scripts/console-files.sh)")
    page.evaluate(axe.read_text(encoding="utf-8"))
    found: list[Any] = []

    def look(state: str, parts: list[str], steps: tuple[str, ...] = STEPS) -> None:
        for name in steps:
            step(page, name)
            there = [part for part in parts if page.locator(part).count()]
            found.extend((state, name, *row) for row in page.evaluate(LOOK, there))

    look("none", [])
    stage.say("fact stop_unconfirmed_ms Therapy 900")
    page.locator(".alarm.high.active").wait_for()
    look("active", CHANGED)
    page.keyboard.press("a")
    page.locator(".alarm.high.acknowledged").wait_for()
    look("acknowledged", CHANGED)
    stage.say("free")
    page.locator(".alarm.high.latched").wait_for()
    look("latched", CHANGED)
    silence(page, stage)
    for priority, line in {"low": "fact bad_messages tracker 1", "medium": "fact clock_step_ms clock 250"}.items():
        raise_alarm(page, stage, priority, line)
        look(priority, CHANGED, ("Monitor",))
    assert not found, json.dumps(found, indent=1)
