"""A real browser for tests of pages: Debian's Chromium, or Chrome, without a window."""

import contextlib
import shutil

import pytest

from patience import PATIENCE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


@contextlib.contextmanager
def opened(address, width=1280, height=900):
    """A page at an address; at the end nothing must have gone wrong in it nor been fetched from elsewhere."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if BROWSER is None:
        pytest.skip("needs a Chromium browser")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(1000 * PATIENCE)
        problems, fetched = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and problems.append(said.text))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(address)
        yield page
        browser.close()
    assert problems == []
    home = address.rpartition("/")[0]
    assert [url for url in fetched if not url.startswith((home, "data:"))] == []
