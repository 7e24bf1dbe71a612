"""The command `stfer NAME --flag=value`: the same as `python -m experiments.NAME`, from any folder.

A folder with a package `experiments` of its own would hide the commands from `python -m`; here they are found
beside this package.
"""

import ast
import runpy
import sys
from importlib import util
from pathlib import Path

from stfer import __version__
from stfer.nearest import did_you_mean

_ROOT = Path(__file__).resolve().parent.parent
_USAGE = """Usage: stfer COMMAND --flag=value ..., or python -m experiments.COMMAND --flag=value ...

Commands:
{commands}

stfer COMMAND --help lists a command's flags."""


def commands() -> dict[str, str]:
    """The commands, sorted, each with the first line of its docstring. Nothing of them is imported."""
    folder = _ROOT / "experiments"
    files = {path.stem: path for path in folder.glob("[a-z]*.py")}
    files |= {path.parent.name: path for path in folder.glob("*/__main__.py")}
    found = {}
    for name, path in sorted(files.items()):
        tree = ast.parse(path.read_text("utf-8"))
        # A file that defines no flags helps the commands and is none.
        if any(isinstance(n, ast.FunctionDef) and n.name == "define_flags" for n in tree.body):
            found[name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def usage() -> str:
    """How the commands are called, and one line about each."""
    known = commands()
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {about}" for name, about in known.items()]
    return _USAGE.format(commands="\n".join(lines))


def main() -> None:
    """Run the command that the first argument names, with the others as its flags."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "-help", "help"):
        print(usage())
        return
    if sys.argv[1] == "--version":
        print(f"stfer {__version__}")
        return
    name = sys.argv.pop(1)
    known = commands()
    if name not in known:
        sys.stderr.write(
            f"error: {name!r} is no command; there are {', '.join(known)}{did_you_mean(name, known)}\n"
        )
        sys.exit(2)
    _find_ours()
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


def _find_ours() -> None:
    """Make `experiments` the package beside this one, whatever the current folder holds."""
    found = util.find_spec("experiments")
    places = (
        [Path(place).resolve() for place in (found.submodule_search_locations or ())]
        if found
        else []
    )
    if places[:1] != [_ROOT / "experiments"]:
        sys.path.insert(0, str(_ROOT))
        for module in [m for m in sys.modules if m.partition(".")[0] == "experiments"]:
            del sys.modules[module]


if __name__ == "__main__":
    main()
