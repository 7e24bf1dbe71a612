"""A real browser for tests of pages, without a window: Chromium or Chrome of the system, or playwright's own."""

import contextlib
import shutil
from pathlib import Path

import pytest

from patience import PATIENCE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


@contextlib.contextmanager
def opened(address, width=1280, height=900):
    """A page at an address; at the end nothing must have gone wrong in it nor been fetched from elsewhere."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        program = BROWSER or started.chromium.executable_path
        if not Path(program).exists():
            pytest.skip("needs a browser: chromium of the system, or `playwright install chromium`")
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
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
