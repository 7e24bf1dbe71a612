"""The page of a camera, which `stfer.inference.live` serves."""

from collections.abc import Sequence

from stfer.inference.drawing import COLOURS
from stfer.inference.pages.templates import fill

SPAN = 30  # seconds of the curves


def live_page(title: str, classes: Sequence[str]) -> str:
    """The page's HTML; it reads its frames from `events` beside it."""
    colours = [f"rgb({red}, {green}, {blue})" for red, green, blue in COLOURS]
    data = {"classes": list(classes), "span": SPAN, "colours": colours}
    return fill("live.html", ("chart.js", "live.js"), data, title=title, span=SPAN)
