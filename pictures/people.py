"""Draws what more people are worth: `python pictures/people.py`, beside itself as `people.png`.

The numbers are those of BUILD_NOTES.md, "Measured: prediction, export, real faces": the preset `carry`, 400 steps of 48
pairs of the first so many synthetic people, tested on 24 others and on the pairs of calm and smiling portraits.
"""

from pathlib import Path

import matplotlib.pyplot as plt

PEOPLE = (10, 40, 120, 240)
RENDERED = (0.636, 0.709, 0.718, 0.752)  # of 412 pairs, seven classes
NEUTRAL = (0.640, 0.842, 0.871, 0.906)  # of the rendered neutral pairs
CLEAR = tuple(count / 26 for count in (21, 22, 21, 21))  # portraits: clear smiles called happiness
WEAK = tuple(count / 10 for count in (4, 4, 5, 6))  # weak ones
CURVES = (
    ("rendered, all seven classes", RENDERED, "#0072B2", "-"),
    ("rendered, neutral", NEUTRAL, "#0072B2", ":"),
    ("portraits, clear smiles", CLEAR, "#D55E00", "-"),
    ("portraits, weak smiles", WEAK, "#D55E00", ":"),
)


def main() -> None:
    """Draw the four curves and write the picture."""
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    for name, values, colour, style in CURVES:
        axes.plot(PEOPLE, values, style, color=colour, marker="o", markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_xticks(PEOPLE, [str(count) for count in PEOPLE])
    axes.minorticks_off()
    axes.set(xlabel="synthetic people trained on, 400 steps", ylabel="share right", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(Path(__file__).with_name("people.png"), dpi=120)


if __name__ == "__main__":
    main()
