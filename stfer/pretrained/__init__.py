"""The model that ships: what prediction uses where no other model is named. README.md beside this file is its card."""

from pathlib import Path

__all__ = ["shipped_model"]

NAME = "pair_difference"


def shipped_model() -> Path:
    """The folder of the model that ships.

    Example:
      >>> from stfer.inference import load_model
      >>> load_model(shipped_model()).classes[-1]
      'neutral'
    """
    return Path(__file__).parent / NAME
