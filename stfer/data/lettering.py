"""Names in figures and pictures: in a font that has their characters where one is installed, else written out.

A character that no font has would be drawn as a box, which tells nobody what it was.
"""

import functools
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_FAMILY = "DejaVu Sans"  # comes with matplotlib


def legible(figure: "Figure") -> "Figure":
    r"""Change a finished figure's texts so that every character is drawn; returns the figure.

    A family of fonts that has what the first one lacks is added; what no installed font has is transliterated,
    or written as `\uNNNN`.
    """
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_majorticklabels()]
            if any(map(_is_unusual, labels)):
                axis.set_ticks(axis.get_majorticklocs(), labels=[drawable(text) for text in labels])
                for tick in axis.get_major_ticks():
                    tick.label1.set_fontfamily(families(labels))
    for text in figure.findobj(Text):
        words = text.get_text()
        if _is_unusual(words):
            text.set_fontfamily(families([words]))
            text.set_text(drawable(words))
    return figure


def drawable(text: str) -> str:
    """A text with what no installed font has transliterated or written out."""
    known = set().union(*(_characters(path) for _, path in _fonts_for(_unusual(text))))
    return "".join(c if c in known or not _is_unusual(c) else plain(c) for c in text)


def families(texts: Iterable[str]) -> list[str]:
    """Font families that together have the characters of the texts, as far as they are installed."""
    further = _fonts_for(_unusual("".join(texts)))
    return [DEFAULT_FAMILY, *dict.fromkeys(name for name, _ in further)]


def plain(text: str) -> str:
    r"""A text in ASCII, for fonts that have nothing else: letters without accents, others as `\uNNNN`."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return bare.encode("ascii", "backslashreplace").decode()


def _is_unusual(text: str) -> bool:
    return bool(_unusual(text))


def _unusual(text: str) -> str:
    """The characters that matplotlib's own font lacks, sorted."""
    own = _own_characters()
    return "".join(sorted({c for c in text if c not in own and c not in "\\n\\r\\t"}))


@functools.cache
def _own_characters() -> frozenset[str]:
    from matplotlib import font_manager

    return _characters(font_manager.findfont(DEFAULT_FAMILY))


@functools.cache
def _characters(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def _fonts_for(characters: str) -> tuple[tuple[str, str], ...]:
    """Installed fonts, (family, path), that have the characters; each the one that has most of what is left."""
    from matplotlib import font_manager

    left, chosen = set(characters), []
    # The font of last resort has a box for every character, which is what is to be avoided.
    upright: Any = [
        font
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and not font.name.startswith(("Last Resort", "LastResort"))
    ]
    while left:
        best = max(upright, key=lambda font: len(left & _characters(font.fname)), default=None)
        if best is None or not left & _characters(best.fname):
            break
        chosen.append((best.name, best.fname))
        left -= _characters(best.fname)
    return tuple(chosen)
