"""The page of a camera, which `stfer.inference.live` serves."""

from collections.abc import Sequence

from stfer.inference.drawing import COLOURS
from stfer.pages import fill

SPAN = 30  # seconds of the curves


def live_page(title: str, classes: Sequence[str], host: str = "") -> str:
    """The page's HTML; it reads its frames from `events` beside it.

    Args:
        title: Of the page.
        classes: Class names.
        host: The address at which other machines see it too; empty where none does.
    """
    colours = [f"rgb({red}, {green}, {blue})" for red, green, blue in COLOURS]
    data = {"classes": list(classes), "span": SPAN, "colours": colours}
    return fill(
        "stfer.inference.pages",
        "live.html",
        ("chart.js", "live.js"),
        data,
        title=title,
        span=SPAN,
        host=host,
    )
