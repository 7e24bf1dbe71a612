"""What the HTML pages share: a head, a palette, and how a template is filled in.

A page holds its styles, scripts and data, so that it needs no network and opens as a file.
"""

import importlib.resources
import json
from typing import Any

import jinja2

__all__ = ["fill"]


def fill(
    package: str, template: str, scripts: tuple[str, ...] = (), data: Any = None, **values: Any
) -> str:
    """A template's HTML.

    Args:
        package: Whose folder holds the template, its `page.css` and the scripts. The template extends `base.html`.
        template: The file's name.
        scripts: Files that go into the page, in order.
        data: What the scripts read; NaN is not allowed.
        **values: What the template names; `base.html` wants a `title`.
    """
    folders = [jinja2.PackageLoader(name, ".") for name in (package, __name__)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return environment.get_template(template).render(
        css=_read(__name__, "base.css") + _read(package, "page.css"),
        scripts="\n".join(_read(package, name) for name in scripts),
        data=text.replace("<", r"\u003c"),  # A class's name cannot end the script.
        **values,
    )


def _read(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
