"""Which source code a result came from: digests that change when the code does, and not when its comments do.

A run's identity holds one digest a module: of the architecture's, the task's and the augmentation's own files
and of all that these import from the user's files. Code of stfer itself is covered by its version and by one digest
each of `stfer.models` and `stfer.training`.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from stfer.registries import origin

_INSTALLED = tuple(
    str(Path(sysconfig.get_path(name)).resolve())
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = "stfer"
_OURS_FOLLOWED = ("stfer.models", "stfer.training")  # The rest of stfer goes by its version.


def source_digests(definitions: Iterable[Any]) -> dict[str, str]:
    """Digest of every module that holds one of the definitions, or that such a module imports.

    Args:
        definitions: Classes, functions or instances, such as a module's class.

    Returns:
        From module name to 12 hexadecimal digits, in order of the names. Installed packages are left out, and
        so is stfer but for `stfer.models` and `stfer.training`, with one digest each.
    """
    found: dict[str, str] = {}
    waiting = [origin(definition) for definition in definitions]
    while waiting:
        name, qualified = waiting.pop()
        if name.split(".")[0] == _OURS and not name.startswith(_OURS_FOLLOWED):
            continue
        key = next((ours for ours in _OURS_FOLLOWED if name.startswith(ours)), name)
        if key == name and not getattr(sys.modules.get(name), "__file__", None):
            key = f"{name}.{qualified}"  # A notebook's definitions, each for itself.
        if key in found:
            continue
        if key in _OURS_FOLLOWED:
            found[key] = package_digest(key)
            continue
        module = sys.modules.get(name)
        tree = _tree(module, qualified)
        found[key] = _digest([tree])
        if module is not None:
            waiting += [(other, "") for other in _imported(tree, module) if _is_users(other)]
    return dict(sorted(found.items()))


def _tree(module: ModuleType | None, qualified: str) -> ast.Module:
    """The parsed source of a module; of a definition alone where the module has no file (a notebook's cell)."""
    file = getattr(module, "__file__", None)
    if file and Path(file).suffix == ".py":
        return ast.parse(Path(file).read_text("utf-8"))
    try:
        definition: Any = module
        for part in qualified.split("."):
            definition = getattr(definition, part)
        return ast.parse(inspect.cleandoc(inspect.getsource(definition)))
    except (OSError, TypeError, AttributeError, SyntaxError):
        raise ValueError(
            f"the source of {qualified} in {getattr(module, '__name__', '?')} cannot be read, so a run could not "
            "tell its results from those of changed code: define it in a file and import it"
        ) from None


def _digest(trees: Iterable[ast.Module]) -> str:
    total = hashlib.sha256()
    for tree in trees:
        total.update(ast.dump(_without_docstrings(tree)).encode())
    return total.hexdigest()[:12]


@functools.cache  # What a process has imported stays; reading it takes longer than a tiny fold.
def package_digest(name: str) -> str:
    """One digest of a package's modules, in order of their paths; comments and docstrings do not change it.

    Args:
        name: Of an importable package, such as `stfer.models`.

    Returns:
        12 hexadecimal digits.
    """
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None  # It is a package.
    folder = Path(str(spec.submodule_search_locations[0]))
    return _digest(ast.parse(file.read_text("utf-8")) for file in sorted(folder.rglob("*.py")))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (
            node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
            and isinstance(node.body[0].value.value, str)
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imported(tree: ast.Module, module: ModuleType) -> Iterator[str]:
    """Names of loaded modules that a module's source imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if node.level:
                base = importlib.util.resolve_name(base, module.__package__ or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _is_users(name: str) -> bool:
    """Whether a loaded module is a file of the user's: neither installed, nor of stfer, nor built in."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None or name.split(".")[0] == _OURS:
        return name.startswith(_OURS_FOLLOWED)
    return not str(Path(file).resolve()).startswith(_INSTALLED)
