"""A command's flags within the tests' own process."""

import contextlib

from absl import flags

FLAGS = flags.FLAGS


@contextlib.contextmanager
def given(define, *words):
    """The flags that `define` defines, as the words set them; they go afterwards."""
    before = set(FLAGS)
    define()
    try:
        FLAGS(["command", *words])
        yield
    finally:
        for name in set(FLAGS) - before:
            delattr(FLAGS, name)
        FLAGS.unparse_flags()
