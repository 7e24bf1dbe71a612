"""Draws the README's picture of the whole path: `python pictures/path.py`, beside itself as `path.png`.

Frames, boxes and crops are made by the package; so are the clips' frames and the votes. The probabilities of the votes
are the made-up example of the paper's Figure 16.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from stfer.data.faces import CropSettings, FaceFollower, crop_face
from stfer.data.synthetic import Conditions, stage
from stfer.models import ARCHITECTURES, registration
from stfer.reporting.voting_example import worked_example

SIX = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")
BLUE, ORANGE, PALE = "#0072B2", "#D55E00", "#E4E4E4"
SHOWN, TIME, PEOPLE = 3, 15, 8
# Left edge and width of each panel, of the figure's width.
PLACES = ((0.01, 0.12), (0.165, 0.092), (0.38, 0.2), (0.645, 0.15), (0.845, 0.145))


def main() -> None:
    """Draw the five panels and write the picture."""
    take = stage(0, 6, "surprise", conditions=Conditions(intensity=1.1))
    frames = list(take.frames())
    faces = followed(frames)
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    figure = plt.figure(figsize=(13.5, 4.0))
    panels = [figure.add_axes((left, 0.14, width, 0.65)) for left, width in PLACES]
    draw_frames(panels[0], [frames[n] for n in chosen], [faces[n] for n in chosen])
    draw_crops(panels[1], [crop_face(frames[n], faces[n], CropSettings()) for n in chosen])
    draw_clips(panels[2])
    draw_votes(panels[3])
    draw_folds(panels[4])
    titles = (
        "1  A sequence,\n    neutral to apex",
        "2  The face,\n    followed and cut",
        "3  A clip: the frames\n    that a network sees",
        "4  Probabilities a clip,\n    then a vote (example)",
        "5  Each person held out:\n    accuracy over people",
    )
    starts = (0.0, 0.155, 0.295, 0.605, 0.82)
    for panel, title, start in zip(panels, titles, starts, strict=True):
        figure.text(start + 0.005, 0.97, title, fontsize=12, va="top")
        panel.tick_params(length=0, labelsize=9)
        for side in panel.spines.values():
            side.set_visible(False)
    figure.savefig(Path(__file__).with_name("path.png"), dpi=120)


def followed(frames):
    """The one face of each frame."""
    follower = FaceFollower(CropSettings())
    return [follower(frame)[0][1].face for frame in frames]


def draw_frames(panel, frames, faces):
    """Frames in a column with the boxes that the detector found."""
    height, width = frames[0].shape[:2]
    for row, (frame, face) in enumerate(zip(frames, faces, strict=True)):
        top = row * (height + 12)
        panel.imshow(frame, extent=(0, width, top + height, top))
        panel.add_patch(
            Rectangle(
                (face.x, top + face.y), face.width, face.height, fill=False, color=ORANGE, lw=2
            )
        )
    show_whole(panel, width, len(frames) * (height + 12))


def draw_crops(panel, crops):
    """Crops in a column."""
    size = len(crops[0])
    for row, crop in enumerate(crops):
        top = row * (size + 9)
        panel.imshow(crop, extent=(0, size, top + size, top))
    show_whole(panel, size, len(crops) * (size + 9))


def show_whole(panel, width, height):
    """Limits of a panel of pictures, without ticks."""
    panel.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def draw_clips(panel):
    """For each of the six, the last frames of a sequence; filled are those of its training clip."""
    for row, name in enumerate(SIX):
        frames = ARCHITECTURES[name].frames
        offsets = registration(name).rules(frames)["frames"].offsets
        for offset in range(-TIME, 0):
            colour = BLUE if offset in offsets else PALE
            panel.add_patch(Rectangle((offset - 0.42, row - 0.38), 0.84, 0.76, color=colour))
    panel.set(xlim=(-TIME - 0.6, -0.4), ylim=(len(SIX) - 0.4, -0.6), xticks=[-15, -10, -5, -1])
    panel.set_yticks(range(len(SIX)), SIX)
    panel.set_xlabel("frame, counted from the end", fontsize=9)


def draw_votes(panel):
    """Figure 16: probabilities of five clips, and what each vote makes of them."""
    example = worked_example()
    values = np.array(example.probabilities)
    panel.imshow(values, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        panel.text(
            column,
            row,
            f"{value:.2f}",
            ha="center",
            va="center",
            fontsize=9,
            color="w" if value > 0.6 else "k",
        )
    panel.set_xticks(range(len(example.classes)), example.classes)
    panel.set_yticks(range(len(values)), [f"clip {n}" for n in range(1, len(values) + 1)])
    panel.xaxis.tick_top()
    panel.set_xlabel(f"summed: {example.summed}\nmaximum: {example.maximum}", fontsize=10)


def draw_folds(panel):
    """A row a fold, a column a person: trained on, or held out and tested."""
    for fold in range(PEOPLE):
        for person in range(PEOPLE):
            colour = ORANGE if fold == person else BLUE
            panel.add_patch(Rectangle((person - 0.42, fold - 0.42), 0.84, 0.84, color=colour))
    panel.set(xlim=(-0.6, PEOPLE - 0.4), ylim=(PEOPLE - 0.4, -0.6), xticks=[], yticks=[])
    panel.set_ylabel("eight trainings", fontsize=9)
    panel.set_xlabel("people; orange: held out, tested", fontsize=9)


if __name__ == "__main__":
    main()
