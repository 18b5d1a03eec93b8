"""The page on a live room: layout, honesty, alarms, acts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import ROOT, Stage, live, silence, step, take_control, until

pytestmark = [pytest.mark.peers, pytest.mark.slow]
Open = Callable[..., Page]
GUARD = "intercostal-muscle"
GRAMMAR = re.compile(r"^.+ (-?\d+(\.\d+)?) .*\(limit -?\d+(\.\d+)?\)\s*since \d\d:\d\d:\d\d$")
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}


def test_live_views_update_and_say_their_age(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    ages = "[...document.querySelectorAll('.well .age')].map((e) => e.textContent)"
    until(page, ages + r".filter((t) => /^\d\.\d\ds$/.test(t)).length === 4", 30)
    number = page.locator("[data-view=Ultrasound] .readout").inner_text()
    page.wait_for_timeout(500)
    assert page.locator("[data-view=Ultrasound] .readout").inner_text() != number


def test_letters_follow_the_radiological_convention(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    for view, letters in {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}.items():
        got = page.locator(f"[data-view={view}] .letter").all_inner_texts()
        assert "".join(got) == letters
    # a click right of the middle of an axial view lies further to the patient's left: smaller R
    box = page.locator("[data-view=axial]").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    on_the_left = page.evaluate("import('/static/app/store.js').then((m) => m.store.crosshair[0])")
    page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5)
    on_the_right = page.evaluate("import('/static/app/store.js').then((m) => m.store.crosshair[0])")
    assert on_the_left > on_the_right + 10


def test_readout_is_the_services_voxel(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    page.wait_for_timeout(3000)
    checked = page.evaluate(
        """async () => {
        const { store } = await import('/static/app/store.js');
        const { ask } = await import('/static/app/link.js');
        const { valueOf, voxelAt } = await import('/static/app/geometry.js');
        const rows = [];
        for (let n = 0; n < 200 && rows.length < 20; n += 1) {
          const at = [78 + 37 * Math.sin(n * 2.1), 9 * Math.sin(n), 40 * Math.cos(n * 1.7)];
          const answer = await ask({ kind: 'probe', at });
          const frame = store.frames.get('volume');
          if (!answer.values || frame.seq !== answer.seq) continue;
          const index = voxelAt(frame, at);
          const magnitude = frame.layers.magnitude;
          const ours = Object.fromEntries(['temperature', 'sigma'].map((k) => [k, valueOf(frame.layers[k], index)]));
          rows.push({ served: answer.values, ours, magnitude: valueOf(magnitude, index), step: magnitude.scale });
        }
        return rows; }"""
    )
    assert len(checked) == 20
    for row in checked:
        assert abs(row["magnitude"] - row["served"]["magnitude"]) <= row["step"]
        if "temperature" in row["served"]:
            assert abs(row["ours"]["temperature"] - row["served"]["temperature"]) <= 0.0051
        else:
            assert row["ours"]["temperature"] is None


@pytest.mark.parametrize("size", SIZES)
def test_nothing_scrolls_clips_or_covers(stage: Stage, open_page: Open, size: str) -> None:
    width, height = SIZES[size]
    page = open_page(stage.address, {"width": width, "height": height})
    live(page)
    stops = set()
    for name in ("Plan", "Target", "Monitor", "Control", "Verify", "Connections"):
        step(page, name)
        page.wait_for_timeout(200)
        sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert sizes == [width, height], name
        box = page.locator("button.stop").bounding_box()
        assert box and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
        stops.add(tuple(round(v) for v in box.values()))
        outside = page.evaluate(
            """[...document.querySelectorAll('button, .alarms, .well, aside, footer, header')].filter((e) => {
            const b = e.getBoundingClientRect();
            return !e.closest('.page') && b.width
              && (b.right > innerWidth + 1 || b.bottom > innerHeight + 1 || b.left < -1);
            }).map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert not outside, (name, outside)
    assert len(stops) == 1
    rem = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll('#app *')].filter((e) => e.childNodes.length &&
        [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
          .map((e) => parseFloat(getComputedStyle(e).fontSize)))"""
    )
    assert smallest >= 0.875 * rem - 0.01 and smallest >= 14 * min(width / 1280, height / 720) - 0.01
    assert (
        page.evaluate("parseFloat(getComputedStyle(document.querySelector('.stop .t1')).fontSize)") >= 2.25 * rem - 0.01
    )


def test_over_temperature_shows_is_acknowledged_and_resets(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    take_control(page)
    silence(page, stage)
    page.evaluate(
        """async () => {
        const { store, serviceMs } = await import('/static/app/store.js');
        window.seen = {};
        new MutationObserver(() => { const row = document.querySelector('.alarm');
          if (row && !window.seen[row.dataset.id]) {
            const alarm = store.state.alarms.find((a) => a.id === row.dataset.id);
            window.seen[row.dataset.id] = serviceMs() - alarm.first_ns / 1e6; } })
          .observe(document.querySelector('#app'), { childList: true, subtree: true, attributes: true }); }"""
    )
    stage.say(f"fact hot_region_c {GUARD} 47.3")
    alarm = page.locator(f".alarm[data-id='T1.{GUARD}']")
    alarm.wait_for(timeout=5000)
    page.wait_for_timeout(300)
    delay = page.evaluate("window.seen")
    print("alarm raised to shown, ms:", delay)
    text = page.locator(".alarm .line1").inner_text().replace("\n", "")
    assert GRAMMAR.match(text), text
    assert "47.3" in text and page.locator(".alarm .word").inner_text() in ("HIGH", "MEDIUM")
    assert page.locator(".alarm .line2").inner_text().startswith("Done: ")
    assert "Do: " in page.locator(".alarm .line2").inner_text()
    page.keyboard.press("a")
    page.wait_for_selector(".alarm.acknowledged")
    assert "acked operator" in page.locator(".alarm .line2").inner_text()
    stage.say("free")
    page.wait_for_selector(".alarm.latched", timeout=5000)
    assert "RESET" in page.locator(".alarm .line2").inner_text()
    page.get_by_role("button", name="RESET", exact=True).click()
    alarm.wait_for(state="detached", timeout=5000)


def test_reader_without_token_may_only_look(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.plain_address)
    live(page)
    assert "READ ONLY" in page.locator("header").inner_text()
    answer = page.evaluate("import('/static/app/link.js').then((m) => m.ask({kind: 'act', verb: 'STOP', values: {}}))")
    assert not answer["done"] and "viewer" in answer["reasons"][0]


def test_wrong_token_is_refused_and_forgotten(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.plain_address + "#token=guessed-by-somebody-else")
    page.wait_for_selector("#lapse-why")
    live(page)
    assert "READ ONLY" in page.locator("header").inner_text()
    assert "token" not in page.url


def test_another_origin_is_refused(stage: Stage, open_page: Open, tmp_path: Path) -> None:
    page = open_page("about:blank", expected="WebSocket")
    code = page.evaluate(
        """(url) => new Promise((done) => { const s = new WebSocket(url); s.onclose = (e) => done(e.code); })""",
        stage.plain_address.replace("http", "ws") + "feed",
    )
    assert code in (1006, 1008)


def test_two_consoles_one_holds_control(stage: Stage, open_page: Open) -> None:
    first, second = open_page(stage.address), open_page(stage.address)
    live(first)
    live(second)
    take_control(first)
    until(
        second,
        "/^(?!.*TAKE).*CONTROL/s.test(document.querySelector('header').innerText)",
    )
    first.wait_for_timeout(1500)  # its lease begins to run
    answer = second.evaluate("import('/static/app/link.js').then((m) => m.ask({kind: 'control', take: true}))")
    assert not answer["done"] and "control" in answer["reasons"][0]
    refused = second.evaluate(
        "import('/static/app/link.js').then((m) => m.ask({kind: 'act', verb: 'RESET', values: {}}))"
    )
    assert not refused["done"]
    first.get_by_role("button", name=re.compile("CONTROL$")).click()
    second.get_by_role("button", name="TAKE CONTROL").click()
    second.wait_for_selector("header button[aria-pressed=true]")


def test_arming_takes_two_steps_and_a_reader(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    take_control(page)
    silence(page, stage)
    ask = "import('/static/app/link.js').then((m) => m.ask(%s))"
    for words in (
        "{kind: 'act', verb: 'ARM', values: {}}",
        "{kind: 'act', verb: 'ARM', values: {}, ticket: 'guessed'}",
    ):
        answer = page.evaluate(ask % words)
        assert not answer["done"] and "two steps" in answer["reasons"][0]
    ticket = page.evaluate(ask % "{kind: 'prepare', verb: 'ARM'}")
    quick = page.evaluate(
        ask
        % json.dumps({"kind": "act", "verb": "ARM", "values": {}, "ticket": ticket["ticket"], "shown": ticket["shown"]})
    )
    assert not quick["done"] and "too soon" in quick["reasons"][0]
    ticket = page.evaluate(ask % "{kind: 'prepare', verb: 'ARM'}")
    page.wait_for_timeout(500)
    changed = {**ticket["shown"], "power_w": 999}
    wrong = page.evaluate(
        ask % json.dumps({"kind": "act", "verb": "ARM", "values": {}, "ticket": ticket["ticket"], "shown": changed})
    )
    assert not wrong["done"] and "changed" in wrong["reasons"][0]


def test_killed_service_is_not_live_within_a_second_and_nothing_is_stored(open_page: Open, tmp_path: Path) -> None:
    token = "a-token-of-this-site-1"
    first = Stage(tmp_path, "hifu_liver", 60, GUIDANCE_OPERATOR_TOKEN=token)
    try:
        page = open_page(first.address, expected="WebSocket|ERR_CONNECTION")
        live(page)
        page.wait_for_timeout(1000)
        page.evaluate(
            """() => { const box = document.getElementById('lapse'); const step = () => {
            if (getComputedStyle(box).opacity > 0.9 && !window.lapsedAt) window.lapsedAt = performance.now();
            requestAnimationFrame(step); }; step(); }"""
        )
        began = page.evaluate("performance.now()")
        os.killpg(first.process.pid, signal.SIGKILL)
        until(page, "window.lapsedAt")
        took = page.evaluate("window.lapsedAt") - began
        print("killed to NOT LIVE, ms:", took)
        assert took < 1000
        assert page.locator("#lapse").inner_text().startswith("NOT LIVE")
        page.wait_for_timeout(300)
        assert set(page.locator(".numbers .value").all_inner_texts()) <= {"--.-", "--"}
        assert page.locator("nav + button, .alarm-keys button").first.is_disabled()
        page.keyboard.press("Space")
        page.wait_for_timeout(200)
        assert "USE THE HARD E-STOP" in page.locator("footer .note").inner_text()
        port = re.search(r":(\d+)/", first.address)
        assert port
        again = Stage(tmp_path, "hifu_liver", 40, GUIDANCE_OPERATOR_TOKEN=token, GUIDANCE_CONSOLE_PORT=port[1])
        try:
            live(page, 20)
            time.sleep(1.0)
            assert again.told and "STOP" not in again.told["acts"], "a STOP of before was sent later"
            assert page.locator(".well .age").count() == 4
        finally:
            again.end()
    finally:
        first.end()


def renderers() -> list[psutil.Process]:
    """Renderer processes of this test's own Chromium."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if "--type=renderer" in process.cmdline()]


def test_frozen_page_loses_its_lease_and_wakes_as_not_live(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    take_control(page)
    told = stage.wait(lambda told: bool(told["shows_alarms"]))
    page.evaluate(
        """() => { window.lapses = [];
        const look = () => { if (document.body.classList.contains('lapsed')) window.lapses.push(performance.now()); };
        new MutationObserver(look).observe(document.body, { attributes: true }); }"""
    )
    mine = told["shows_alarms"]
    frozen = renderers()
    try:
        for process in frozen:
            process.suspend()
        stage.wait(lambda told: not set(mine) & set(told["shows_alarms"]), 6)
    finally:
        for process in frozen:
            process.resume()
    assert until(page, "window.lapses.length"), "it woke without saying that it had been frozen"
    live(page)


def test_tones_sound_and_fall_silent_when_paused(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    take_control(page)
    silence(page, stage)
    stage.say("fact clock_step_ms clock 400")
    raised = "import('/static/app/store.js').then((m) => m.store.state.alarms.some((a) => a.id === 'C1.clock'))"
    until(page, raised)
    loud = "import('/static/app/sound.js').then((m) => m.level() > 0.01)"
    assert until(page, loud, 22), "no tone for a medium alarm"
    peaks = page.evaluate(
        """import('/static/app/sound.js').then(async (m) => {
        const { step, notes } = m.PATTERN.medium;
        const peak = () => { const { bins, hz } = m.spectrum();
          const low = bins.slice(0, Math.ceil(450 / hz)); return low.indexOf(Math.max(...low)) * hz; };
        const found = [];
        const end = performance.now() + 1000 * (notes.length * step + 0.3);
        m.play('medium');
        while (performance.now() < end) {
          if (m.level() > 0.05) found.push(peak());
          await new Promise((r) => setTimeout(r, 15));
        }
        return { notes: [...notes].map((note) => m.NOTE[note]), found }; })"""
    )
    at = 0
    for note in peaks["notes"]:  # one after the other; a bin of the spectrum is 22 Hz wide
        later = [n for n, heard in enumerate(peaks["found"]) if n >= at and abs(note - heard) < 20]
        assert later, (note, peaks)
        at = later[0]
    every = page.evaluate("import('/static/app/sound.js').then((m) => Object.values(m.PATTERN).map((p) => p.every))")
    assert every == [8, 20, 60, 5]
    pause = page.locator(".alarm-keys button[aria-pressed=true]")
    for _ in range(5):  # a new high alarm of a busy machine breaks the pause, rightly
        page.keyboard.press("m")
        page.wait_for_timeout(1500)
        sounds = page.evaluate(loud)
        if pause.count():
            break
    assert pause.count() and not sounds, "it sounds during the pause"
    stage.say("fact stop_unconfirmed_ms Therapy 900")  # a new HIGH alarm breaks the pause
    page.locator(".alarm.high").wait_for(timeout=5000)
    page.locator(".alarm-keys button[aria-pressed=false]").first.wait_for(timeout=3000)
    silence(page, stage)


def test_shape_flashes_at_two_hertz_and_text_never(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.address)
    live(page)
    take_control(page)
    silence(page, stage)
    stage.say("fact stop_unconfirmed_ms Therapy 900")
    page.locator(".alarm.high.active").wait_for(timeout=5000)
    seen = page.evaluate(
        """() => new Promise((done) => { const rows = []; const from = performance.now(); const step = () => {
        const o = (s) => getComputedStyle(document.querySelector(s)).opacity;
        const now = performance.now() - from;
        const begun = document.querySelector('.alarm .shape').getAnimations()[0].startTime;
        rows.push([o('.alarm .shape'), o('.alarm .text'), now, begun]);
        if (now < 3000) requestAnimationFrame(step); else done(rows); }; step(); })"""
    )
    assert {row[1] for row in seen} == {"1"}, "text flashes"
    steady = [pair for pair in pairwise(seen) if pair[0][3] == pair[1][3]]
    changes = sum(a[0] != b[0] for a, b in steady)
    print(sorted({row[0] for row in seen}), [round(b[2]) for a, b in steady if a[0] != b[0]])
    seconds = sum(b[2] - a[2] for a, b in steady) / 1e3
    assert changes / seconds == pytest.approx(4, abs=1), "2 Hz is four changes a second"
    silence(page, stage)


def test_example_client_reads_the_same_feed(stage: Stage) -> None:
    address = stage.plain_address.replace("http", "ws") + "feed"
    words = [sys.executable, str(ROOT / "examples/console_client.py"), address, "3"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    assert len(said) == 3 and said[0].split()[0] in {"IDLE", "READY", "TREATING", "HOLD", "STOPPED"}


def test_plain_page_shows_alarms_phase_and_stops(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.plain_address + "plain#token=" + stage.token)
    page.wait_for_selector("body:not(.lapsed)", timeout=15000)
    until(page, "/IDLE|READY|STOPPED|HOLD/.test(document.getElementById('phase').textContent)")
    page.keyboard.press("Space")
    until(page, "document.getElementById('verdict').textContent === 'STOP done'")
    stage.wait(lambda told: told["phase"] == "STOPPED")
