"""Names in scripts that matplotlib's own font lacks: never a box, whatever fonts are installed."""

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from stfer.data import lettering, overview
from stfer.data.lettering import drawable, families, legible, plain

NAMES = ("anger", "怒り", "행복", "Überraschung", "хмурый", "😀")


def test_plain_is_ascii_and_keeps_letters():
    assert plain("Überraschung déçu") == "Uberraschung decu"
    assert plain("怒り_1") == "\\u6012\\u308a_1"


def test_without_a_font_the_characters_are_written_out(monkeypatch):
    own = font_manager.fontManager.ttflist
    monkeypatch.setattr(
        font_manager.fontManager, "ttflist", [font for font in own if font.name == "DejaVu Sans"]
    )
    lettering._fonts_for.cache_clear()
    assert drawable("怒り a") == "\\u6012\\u308a a"
    assert drawable("Überraschung хмурый") == "Überraschung хмурый", (
        "matplotlib's own font has these"
    )
    assert families(["怒り"]) == ["DejaVu Sans"]
    lettering._fonts_for.cache_clear()


def test_a_font_that_has_the_characters_is_taken(monkeypatch):
    """A font with CJK characters stands in as far as the choice goes."""
    mathematical = font_manager.findfont("STIXGeneral")

    def characters(path):
        return frozenset("怒り") if path == mathematical else frozenset("abc ")

    monkeypatch.setattr(lettering, "_characters", characters)
    lettering._fonts_for.cache_clear()
    lettering._own_characters.cache_clear()
    assert families(["怒り a"]) == ["DejaVu Sans", "STIXGeneral"]
    assert drawable("怒り a笑") == "怒り a\\u7b11"
    lettering._fonts_for.cache_clear()
    lettering._own_characters.cache_clear()


def test_the_font_of_last_resort_is_none():
    """It comes with matplotlib, has every character, and draws each as a box."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    boxes = {name for name in installed if "resort" in name.lower()}
    assert not boxes & set(families(["怒り", "\U000f0000"]))
    # For private use: no font with letters has it.
    assert drawable("a\U000f0000") == "a\\U000f0000"


@pytest.mark.slow
@pytest.mark.filterwarnings("error:Glyph")
def test_no_figure_has_boxes():
    """Every character that is drawn as a box makes matplotlib warn, and warnings are errors here."""
    figure = Figure()
    axes = figure.add_subplot()
    axes.bar(NAMES, range(len(NAMES)), label="笑")
    axes.set_title("笑顔 $set_1".replace("$", r"\$"))
    axes.set_xlabel("표정")
    axes.legend()
    legible(figure).canvas.draw()
    assert overview.draw_class_distribution(["怒り"], NAMES, "テスト $x").startswith(b"\x89PNG")
