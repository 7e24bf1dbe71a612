"""Fills in the templates of this folder."""

import json
from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent


def fill(template: str, scripts: tuple[str, ...] = (), data: Any = None, **values: Any) -> str:
    """A template's HTML.

    Args:
        template: A file of this folder.
        scripts: Files of this folder that go into the page, in order.
        data: What the scripts read; NaN is not allowed.
        **values: What the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stfer.inference.pages", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return environment.get_template(template).render(
        css=_read("page.css"),
        scripts="\n".join(map(_read, scripts)),
        data=text.replace("<", r"\u003c"),  # A class's name cannot end the script.
        **values,
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
