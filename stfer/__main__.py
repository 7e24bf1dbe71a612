"""The command `stfer NAME --flag=value`: the same as `python -m experiments.NAME`, from any folder.

A folder with a package `experiments` of its own would hide the commands from `python -m`; here they are found
beside this package.
"""

import runpy
import sys
from importlib import util
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def names() -> list[str]:
    """The commands, sorted."""
    folder = _ROOT / "experiments"
    modules = {path.stem for path in folder.glob("[a-z]*.py")} - {"command", "final_model"}
    return sorted(modules | {path.parent.name for path in folder.glob("*/__main__.py")})


def main() -> None:
    """Run the command that the first argument names, with the others as its flags."""
    known = names()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "-help"):
        print(f"{__doc__}\n\nCommands: {', '.join(known)}; each has --help")
        return
    name = sys.argv.pop(1)
    if name not in known:
        sys.stderr.write(f"error: {name!r} is no command; there are {', '.join(known)}\n")
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
