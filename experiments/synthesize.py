"""Writes the synthetic set as raw image sequences with emotion labels, in CK+'s own folder layout.

python -m experiments.synthesize --out=synthetic --subjects=10 --seed=0
"""

from absl import flags

from experiments import _app

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("out", None, "Folder to write; it must not exist, or be empty.")
    flags.DEFINE_integer("subjects", 10, "Number of people; each shows six expressions.")
    flags.DEFINE_integer("seed", 0, "Seed of the set; the same seed gives the same bytes.")
    flags.DEFINE_integer("workers", None, "Processes; by default one a core.")


def main(argv: list[str]) -> None:
    del argv
    if not FLAGS.out:
        raise _app.UserError("--out is needed: the folder to write, such as --out=synthetic")
    from stfer.data.synthetic import generate

    _app.print_settings(
        "Synthetic set",
        {
            "out": FLAGS.out,
            "subjects": FLAGS.subjects,
            "seed": FLAGS.seed,
            "workers": FLAGS.workers,
        },
    )
    _app.print_paths([generate(FLAGS.out, FLAGS.subjects, FLAGS.seed, FLAGS.workers)])


if __name__ == "__main__":
    _app.run(main, define_flags)
