"""Pictures of the console for the documentation: procedures, every alarm priority, both themes, 4K.

    .venv/bin/python -m scripts.screenshots [NAME ...]

Writes docs/pictures/*.png, at most 256 colours each so that they stay small.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import ARGS, Stage, live, raise_alarm, silence, take_control, until

OUT = Path("docs/pictures")
GUARD = "intercostal-muscle"
SIZE = {"width": 1280, "height": 720}


def save(page: Page, name: str) -> None:
    """One picture."""
    OUT.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if picture.width > SIZE["width"]:
        picture = picture.resize((1600, 900), Image.Resampling.LANCZOS)
    few = picture.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    few.save(OUT / f"{name}.png", optimize=True)
    print(f"{OUT / name}.png", flush=True)


def show(page: Page, step: str) -> None:
    """Go to a step."""
    page.locator("nav button", has_text=step).first.click()
    page.wait_for_timeout(1200)


def procedure(
    browser: Browser, name: str, steps: tuple[str, ...], wait_s: float, large: bool = False, treats: bool = False
) -> None:
    """A procedure with its simulated operator, after `wait_s` seconds of the page, or where it `treats` of treatment.

    `large`: the last step at 4K too.
    """
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), name, 400, STAGE_OPERATOR="1")
        try:
            page = browser.new_page(viewport=SIZE)
            page.goto(stage.plain_address)
            live(page)
            if treats:
                until(page, "document.getElementById('phase').textContent === 'TREATING'", 200)
            page.wait_for_timeout(wait_s * 1e3)
            for number, step in enumerate(steps):
                show(page, step)
                if step not in steps[:number]:
                    save(page, f"{name}-{step.lower()}")
            if large:
                page.set_viewport_size({"width": 3840, "height": 2160})
                page.wait_for_timeout(2500)
                save(page, "4k")
            page.close()
        finally:
            stage.end()


def priorities(browser: Browser) -> None:
    """One picture of each alarm priority and state, the keys, light, NOT LIVE, in a room that is well."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), "hifu_liver", 200, STAGE_CALM="1")
        try:
            page = browser.new_page(viewport=SIZE)
            page.goto(stage.address)
            live(page)
            take_control(page)
            page.wait_for_timeout(9000)
            silence(page, stage)
            save(page, "no-alarm")
            raised = {
                "low": "fact bad_messages tracker 1",
                "medium": "fact clock_step_ms clock 250",
                "high": f"fact hot_region_c {GUARD} 47.3",
            }
            for name, line in raised.items():
                raise_alarm(page, stage, name, line)
                while page.evaluate("getComputedStyle(document.querySelector('.alarm .shape')).opacity") == "0":
                    page.wait_for_timeout(60)
                save(page, f"alarm-{name}")
            page.locator(".alarm-keys button").last.click()
            page.wait_for_timeout(400)
            save(page, "alarm-list")
            page.locator(".alarm-keys button").last.click()
            page.keyboard.press("a")
            page.locator(".alarm.acknowledged").wait_for()
            save(page, "alarm-acknowledged")
            stage.say("free")
            page.locator(".alarm.latched").wait_for()
            save(page, "alarm-latched")
            silence(page, stage)
            page.keyboard.press("?")
            page.wait_for_timeout(300)
            save(page, "keys")
            page.keyboard.press("?")
            page.keyboard.press("t")
            page.wait_for_timeout(600)
            live(page)
            save(page, "light")
            page.keyboard.press("t")
            stage.end()
            page.wait_for_timeout(2500)
            save(page, "not-live")
            page.close()
        finally:
            stage.end()


def arming(browser: Browser) -> None:
    """The drawer of the first step, with the room's own values."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), "hifu_liver", 80)
        try:
            page = browser.new_page(viewport=SIZE)
            page.goto(stage.address)
            live(page)
            take_control(page)
            page.wait_for_timeout(9000)
            silence(page, stage)
            for name in ("test tone", "I heard it", "ARM..."):
                page.get_by_role("button", name=name).click()
                page.wait_for_timeout(400)
            page.wait_for_timeout(600)
            save(page, "arming")
            page.close()
        finally:
            stage.end()


ALL = {
    "priorities": priorities,
    "arming": arming,
    "hifu_liver": lambda b: procedure(
        b, "hifu_liver", ("Monitor", "Control", "Target", "Verify", "Plan", "Connections", "Monitor"), 4, True, True
    ),
    "hyperthermia_release": lambda b: procedure(b, "hyperthermia_release", ("Verify", "Monitor"), 100, treats=True),
    "laser_brain": lambda b: procedure(b, "laser_brain", ("Monitor",), 30, treats=True),
    "cryo_kidney": lambda b: procedure(b, "cryo_kidney", ("Monitor",), 60, treats=True),
    "mrlinac_gating": lambda b: procedure(b, "mrlinac_gating", ("Verify", "Monitor"), 40, treats=True),
    "microwave_liver_us": lambda b: procedure(b, "microwave_liver_us", ("Target", "Monitor"), 10),
    "fusion_biopsy_prostate": lambda b: procedure(b, "fusion_biopsy_prostate", ("Target", "Verify", "Monitor"), 8),
    "brachy_prostate": lambda b: procedure(b, "brachy_prostate", ("Target", "Verify"), 14),
    "ire_pancreas": lambda b: procedure(b, "ire_pancreas", ("Target", "Verify"), 14),
    "robot_needle": lambda b: procedure(b, "robot_needle", ("Target",), 12),
    "stereotactic_brain": lambda b: procedure(b, "stereotactic_brain", ("Target",), 24),
}


def main(names: list[str]) -> None:
    """Take the named sets, or all."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        for name in names or list(ALL):
            ALL[name](browser)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
