"""Emotion names: the synonyms of the field's data sets, mapped to our class names.

`emotion_synonyms.json` has a list of names a class; a user's file of the same form adds to it, and wins
where both know a name (RAVDESS's number codes, for example, mean other emotions elsewhere).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from stfer.data.sequence import EMOTIONS_7
from stfer.nearest import did_you_mean, did_you_mean_path

NEUTRAL = "neutral"
SYNONYMS = Path(__file__).with_name("emotion_synonyms.json")


def load_synonyms(user_file: str | Path | None = None) -> dict[str, str]:
    """Class name of every known emotion name (in `simplify`'s form).

    Args:
        user_file: JSON such as `{"happiness": ["03", "joyous"], "neutral": ["01"]}`.

    Raises:
        FileNotFoundError, ValueError: it is missing, or not of this form.
    """
    names = _read(SYNONYMS)
    if user_file:
        names |= _read(Path(user_file))
    return names


def emotion(name: str, synonyms: Mapping[str, str]) -> str:
    """The class (or `neutral`) that an emotion name means.

    Raises:
        ValueError: the name is unknown.
    """
    simple = simplify(name)
    if simple not in synonyms:
        raise ValueError(
            f"emotion {name[:60]!r} is unknown: use {', '.join(EMOTIONS_7)}, or give a synonyms file"
            f"{did_you_mean(name[:60], EMOTIONS_7)}"
        )
    return synonyms[simple]


def simplify(name: str) -> str:
    """A name without case, spaces, dashes and underscores."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise FileNotFoundError(f"the synonyms file {path} does not exist{did_you_mean_path(path)}")
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the synonyms file {path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the synonyms file {path} must map class names to lists of names")
    names: dict[str, str] = {}
    for label, synonyms in content.items():
        if label not in (*EMOTIONS_7, NEUTRAL):
            raise ValueError(
                f"the synonyms file {path} names the class {label[:60]!r}: "
                f"use {', '.join((*EMOTIONS_7, NEUTRAL))}"
            )
        if not isinstance(synonyms, list) or not all(isinstance(s, str) for s in synonyms):
            raise ValueError(f"the synonyms file {path}: {label} must have a list of names")
        for simple in map(simplify, (label, *synonyms)):
            if names.setdefault(simple, label) != label:
                raise ValueError(
                    f"the synonyms file {path}: {simple!r} means {names[simple]} and {label}"
                )
    return names
