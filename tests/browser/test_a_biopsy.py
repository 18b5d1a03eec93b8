"""A biopsy on the page: the next way, a core where the needle is, what it took; without control nothing of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import STORE, Stage, live, take_control, until

pytestmark = [pytest.mark.peers, pytest.mark.slow]
WAY = "document.querySelector('.records .way b').textContent"
FIRST_CORE = """(() => {
  const title = [...document.querySelectorAll('aside.page h2')].find((e) => e.textContent === 'Cores taken');
  return title ? title.nextElementSibling.querySelector('tbody tr').innerText : ''; })()"""
NOTES = "[...document.querySelectorAll('footer .note')].map((e) => e.textContent).join(' ')"


def test_a_way_is_chosen_and_a_core_recorded(tmp_path: Path, open_page: Callable[..., Page]) -> None:
    stage = Stage(tmp_path, "fusion_biopsy_prostate", 300)
    try:
        page = open_page(stage.address)
        live(page)
        page.get_by_role("button", name="Target", exact=True).click()
        next_way = page.get_by_role("button", name="next way")
        core = page.get_by_role("button", name="core taken here")
        assert not next_way.is_enabled() and not core.is_enabled()
        assert "has control: take it above" in page.evaluate(NOTES)
        take_control(page)
        until(page, "!document.querySelector('[aria-label=\"next way\"]').disabled")
        before = page.evaluate(WAY)
        next_way.click()
        until(page, f"{WAY} !== '{before}'")
        assert page.evaluate(STORE % "store.state.tools.Needle.way") == page.evaluate(WAY)  # as the core measures
        until(page, STORE % "store.state.tools.Needle.quality === 'ok'")
        core.click()
        until(page, STORE % "store.state.records.cores.length === 1")
        page.get_by_role("button", name="Verify", exact=True).click()
        row = until(page, FIRST_CORE)
        assert row.split()[:2] == ["1", "Needle"]
        assert any(word in row for word in ("in by", "perhaps, by", "missed by"))
        page.goto("about:blank")
        stage.finish()
    finally:
        stage.end()
