"""Pictures of the console for the documentation: every procedure, every alarm priority, both themes, 4K.

    .venv/bin/python -m scripts.screenshots [NAME ...]

Writes docs/pictures/*.png, at most 256 colours each so that they stay small.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import ARGS, Stage, live, take_control

OUT = Path("docs/pictures")
GUARD = "intercostal-muscle"
SIZE = {"width": 1280, "height": 720}


def save(page: Page, name: str) -> None:
    """One picture."""
    OUT.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if picture.width > 1920:
        picture = picture.resize((1920, 1080), Image.Resampling.LANCZOS)
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        OUT / f"{name}.png", optimize=True
    )
    print(f"{OUT / name}.png", flush=True)


def show(page: Page, step: str) -> None:
    """Go to a step."""
    page.locator("nav button", has_text=step).first.click()
    page.wait_for_timeout(1200)


def procedure(browser: Browser, name: str, steps: tuple[str, ...], wait_s: float) -> None:
    """A procedure with its simulated operator, after `wait_s` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), name, 120, STAGE_OPERATOR="1")
        try:
            page = browser.new_page(viewport=SIZE)
            page.goto(stage.plain_address)
            live(page)
            page.wait_for_timeout(wait_s * 1e3)
            for step in steps:
                show(page, step)
                save(page, f"{name}-{step.lower()}")
            page.close()
        finally:
            stage.end()


def priorities(browser: Browser) -> None:
    """One picture of each alarm priority and state, the drawer, the keys, light, 4K, NOT LIVE."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), "hifu_liver", 200)
        try:
            page = browser.new_page(viewport=SIZE)
            page.goto(stage.address)
            live(page)
            take_control(page)
            page.wait_for_timeout(9000)
            page.keyboard.press("a")
            reset = page.get_by_role("button", name="RESET", exact=True)
            if reset.count() and reset.is_enabled():
                reset.click()
            page.wait_for_timeout(600)
            for _ in range(20):
                if page.locator(".alarm").count() == 0:
                    break
                page.keyboard.press("a")
                page.wait_for_timeout(500)
            save(page, "no-alarm")
            raised = {
                "low": "fact bad_messages tracker 1",
                "medium": "fact clock_step_ms clock 250",
                "high": "fact stop_unconfirmed_ms Therapy 900",
            }
            for name, line in raised.items():
                stage.say(line)
                time.sleep(1.5)
                for _ in range(30):  # a busy machine raises alarms of its own: wait until this one is the highest
                    if page.locator(f".alarm.{name}").count():
                        break
                    page.keyboard.press("a")
                    page.wait_for_timeout(500)
                while page.evaluate("getComputedStyle(document.querySelector('.alarm .shape')).opacity") == "0":
                    page.wait_for_timeout(60)
                save(page, f"alarm-{name}")
            page.locator(".alarm-keys button").last.click()
            page.wait_for_timeout(400)
            save(page, "alarm-list")
            page.locator(".alarm-keys button").last.click()
            page.keyboard.press("a")
            page.wait_for_timeout(600)
            save(page, "alarm-acknowledged")
            stage.say("free")
            page.wait_for_timeout(1500)
            save(page, "alarm-latched")
            arming(page)
            page.keyboard.press("?")
            page.wait_for_timeout(300)
            save(page, "keys")
            page.keyboard.press("?")
            page.keyboard.press("t")
            page.wait_for_timeout(600)
            save(page, "light")
            page.keyboard.press("t")
            page.set_viewport_size({"width": 3840, "height": 2160})
            page.wait_for_timeout(1500)
            save(page, "4k")
            page.set_viewport_size(SIZE)
            page.wait_for_timeout(500)
            stage.end()
            page.wait_for_timeout(2500)
            save(page, "not-live")
            page.close()
        finally:
            stage.end()


def arming(page: Page) -> None:
    """The drawer of the first step."""
    reset = page.get_by_role("button", name="RESET", exact=True)
    if reset.count() and reset.is_enabled():
        reset.click()
        page.wait_for_timeout(500)
    for name in ("test tone", "I heard it"):
        button = page.get_by_role("button", name=name)
        if button.count():
            button.click()
            page.wait_for_timeout(300)
    arm = page.get_by_role("button", name="ARM...")
    if arm.count() and arm.is_enabled():
        arm.click()
        page.wait_for_timeout(1000)
    save(page, "arming")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)


ALL = {
    "priorities": priorities,
    "hifu_liver": lambda b: procedure(b, "hifu_liver", ("Monitor", "Target", "Verify", "Plan", "Connections"), 14),
    "mrlinac_gating": lambda b: procedure(b, "mrlinac_gating", ("Monitor",), 20),
    "microwave_liver_us": lambda b: procedure(b, "microwave_liver_us", ("Monitor", "Target"), 12),
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
