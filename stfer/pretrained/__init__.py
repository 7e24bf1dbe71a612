"""The model that ships: trained on synthetic people only; `README.md` beside it is its card."""

from pathlib import Path

DEFAULT = Path(__file__).with_name("pair_difference")
