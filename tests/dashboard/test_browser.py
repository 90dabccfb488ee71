"""The pages in a real Chromium, as somebody uses them: looks, links, clicks, keys, sound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.dashboard.stores import Known

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE_MS = 30_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """A window of 1280 × 800; whatever it asks of another machine, or complains of, fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800}, base_url=server)
    opened.set_default_timeout(PATIENCE_MS)
    abroad: list[str] = []
    crashes: list[str] = []
    opened.on("request", lambda r: abroad.append(r.url) if not _local(r.url) else None)
    opened.on("pageerror", lambda error: crashes.append(str(error)))
    yield opened
    opened.close()
    assert abroad == []
    assert crashes == []


def _local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname == "localhost"


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text, level=1)).to_be_visible(timeout=PATIENCE_MS)


def settled(page: Page) -> None:
    """Wait until the page is drawn: before, what it showed last may still stand there, whose sounds are gone."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=PATIENCE_MS)


def test_walk_through_the_three_pages(page: Page, known: Known) -> None:
    page.goto("/")
    heading(page, "What is on record")
    expect(page.get_by_text("all are there with the size they were written with")).to_be_visible()

    page.get_by_role("link", name="Slices").click()
    heading(page, "Where the model errs")
    row = page.get_by_role("button", name=re.compile(r"^accent scot: 37\.5"))
    row.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Behind it: accent=scot")).to_be_visible()
    expect(row).to_have_attribute("aria-pressed", "true")
    assert "slice=accent%3Dscot" in page.url
    expect(page.get_by_role("listitem", name=re.compile("heard fish"))).to_have_count(1)

    page.get_by_role("link", name="Influence").click()
    heading(page, "Which training data made it so")
    page.get_by_role("button", name=re.compile(r"^Left out noise=babble, errors on noise=babble: \+15\.0")).click()
    expect(page.get_by_role("heading", name="Without noise=babble, errors on noise=babble")).to_be_visible()
    assert "cell=noise%3Dbabble%7Cnoise%3Dbabble" in page.url
    expect(page.get_by_role("heading", name=re.compile("Most helpful first"))).to_be_visible()

    settled(page)
    sound = page.locator("audio").first
    expect(sound).to_be_attached()
    played = sound.evaluate(
        """async (audio) => {
            audio.muted = true;
            await audio.play();
            for (let waited = 0; audio.currentTime === 0 && waited < 10000; waited += 50)
                await new Promise((resolve) => setTimeout(resolve, 50));
            return [audio.currentTime, audio.duration];
        }"""
    )
    assert played[0] > 0
    assert played[1] == pytest.approx(0.5, abs=0.05)

    page.get_by_role("button", name="Lineage").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Where this sample came from")).to_be_visible()
    expect(dialog.get_by_text("Recorded noise").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_link_shows_what_its_sender_saw(page: Page, known: Known) -> None:
    page.goto("/influence?cell=accent%3Dscot%7Caccent%3Dscot&measured=difference&metric=wer")
    expect(page.get_by_role("heading", name="Without accent=scot, errors on accent=scot")).to_be_visible(
        timeout=PATIENCE_MS
    )
    cell = page.get_by_role("button", name=re.compile(r"^Left out accent=scot, errors on accent=scot: \+24\.6"))
    expect(cell).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("path", ["/", "/slices", "/influence"])
def test_a_narrow_window_scrolls_tables_and_not_the_page(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 420, "height": 800})
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_function("document.querySelectorAll('.em-scroll').length > 0")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    wide = page.evaluate(
        "[...document.querySelectorAll('.stMain, .stMainBlockContainer')].map(e => e.scrollWidth - e.clientWidth)"
    )
    assert max(wide) <= 1
