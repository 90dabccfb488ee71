"""Take the README's picture: the Influence page over a store, in a real Chromium, 1280 pixels wide.

    python docs/screenshot.py .demo/store docs/dashboard.png [PATH]

PATH is the rest of the address, so that any view can be taken: 'slices?slice=accent%3Dscot'.
"""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from playwright.sync_api import sync_playwright

from dashboard.serve import running

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDTH, HEIGHT = 1280, 860
READY = "() => !document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget]')"


def take(store: Path, target: Path, path: str = "influence", *, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Write what a window of `width` × `height` pixels shows at `path` as a PNG."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running(store, port) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(f"{url}/{path}")
        page.get_by_role("heading", level=1).wait_for(timeout=60_000)
        page.wait_for_function(READY, timeout=60_000)
        page.wait_for_timeout(1_500)  # charts draw after the script has ended
        page.wait_for_function(READY, timeout=60_000)
        page.screenshot(path=target)
        browser.close()


def main() -> None:
    """Take a picture from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("path", nargs="?", default="influence")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--height", type=int, default=HEIGHT)
    given = parser.parse_args()
    take(given.store, given.target, given.path, width=given.width, height=given.height)


if __name__ == "__main__":
    main()
