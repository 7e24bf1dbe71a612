"""Writes the synthetic set as raw image sequences with emotion labels, in CK+'s own folder layout.

python -m experiments.synthesize --out=synthetic --subjects=10 --seed=0
python -m experiments.synthesize --out=synthetic --subjects=240 --moments=0,0.5,apex --takes=2
python -m experiments.synthesize --contact_sheet=examples.jpg
"""

from pathlib import Path

from absl import flags

from experiments import command

FLAGS = flags.FLAGS
JPEG_QUALITY = 80


def define_flags() -> None:
    """Define this command's flags."""
    flags.DEFINE_string("out", None, "Folder to write; it must not exist, or be empty.")
    flags.DEFINE_integer(
        "subjects", 10, "People; each shows six expressions.", lower_bound=1, upper_bound=999
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the set; the same seed gives the same bytes.", lower_bound=0
    )
    flags.DEFINE_integer("workers", None, "Processes; by default one a core.", lower_bound=1)
    flags.DEFINE_list(
        "moments",
        None,
        "Frames of each sequence to write instead of all, such as 0,0.5,apex. A whole number is a frame from "
        "the first (0), or from the last (-1); a number with a point is a share of the apex: the first frame "
        "at which the expression has come so far; apex is the last frame. A frame named twice is written once.",
    )
    flags.DEFINE_integer(
        "takes", 1, "Sequences a person and expression, each another way and light.", lower_bound=1
    )
    flags.DEFINE_bool("glasses", None, "Everybody wears glasses, or nobody (--noglasses).")
    flags.DEFINE_string("light", None, "Light of every sequence: lamp, dark, or a panorama's name.")
    flags.DEFINE_float("turn", None, "Degrees that every head is turned to either side.")
    flags.DEFINE_string(
        "contact_sheet",
        None,
        "Picture to write (.jpg or .png): five people, six expressions, one sequence.",
    )


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    if not FLAGS.out and not FLAGS.contact_sheet:
        raise command.UserError("--out is needed: the folder to write, such as --out=synthetic")
    from stfer.data.workers import usable_cores

    picture = _picture_path()
    workers = FLAGS.workers or usable_cores()
    names = ("out", "subjects", "seed", "moments", "takes", "glasses", "light", "turn")
    settings = {name: FLAGS[name].value for name in (*names, "contact_sheet")}
    command.print_settings("Synthetic set", settings | {"workers": workers})
    written = []
    if FLAGS.out:
        from stfer.data.synthetic import Conditions, generate
        from stfer.data.synthetic.moments import parse_moments

        moments = parse_moments(FLAGS.moments) if FLAGS.moments is not None else None
        conditions = Conditions(glasses=FLAGS.glasses, light=FLAGS.light, turn=FLAGS.turn)
        made = generate(
            FLAGS.out,
            FLAGS.subjects,
            FLAGS.seed,
            workers,
            moments=moments,
            takes=FLAGS.takes,
            conditions=conditions,
        )
        written.append(made)
    if picture:
        _write_contact_sheet(picture)
        written.append(picture)
    command.print_paths(written)


def _picture_path() -> Path | None:
    if not FLAGS.contact_sheet:
        return None
    path = Path(FLAGS.contact_sheet)
    if path.suffix not in (".jpg", ".png"):
        raise command.UserError(f"--contact_sheet={path}: the name must end in .jpg or .png")
    if not path.absolute().parent.is_dir():
        raise command.UserError(f"--contact_sheet={path}: there is no folder {path.parent}")
    return path


def _write_contact_sheet(path: Path) -> None:
    import cv2

    from stfer.data.synthetic.contact_sheet import contact_sheet

    sheet = contact_sheet(FLAGS.seed)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), sheet[..., ::-1], quality):
        raise command.UserError(f"--contact_sheet={path}: OpenCV could not write this picture")


if __name__ == "__main__":
    command.run(main, define_flags, ("out", "subjects", "seed", "contact_sheet"))
