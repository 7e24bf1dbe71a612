"""The paper's numbers (its Tables I to VIII) and, kept apart, those of other work, each with its protocol."""

from dataclasses import dataclass

PAPER_SETS = ("CK+", "Oulu-CASIA")
PAPER_PROTOCOL = "LOSO"
PAPER_CLASSES = 6
PAPER_TRAINING = (200, 32)  # epochs, batch size
PAPER_HARDWARE = "NVIDIA GeForce 940M"


@dataclass(frozen=True)
class Architecture:
    """What the paper prints of one architecture.

    Attributes:
        table: its table of accuracies.
        classes: outputs with which its parameters were counted.
        parameters: trainable parameters (Table I).
        votes: the paper's rows, top to bottom: vote name to the accuracy on CK+ and on Oulu-CASIA. An architecture
            without a vote has one row, which stands under "summed".
        seconds: training seconds a subject on CK+ and on Oulu-CASIA (Table VIII).
    """

    table: str
    classes: int
    parameters: int
    votes: dict[str, tuple[float, float]]
    seconds: tuple[float, float]


PAPER = {
    "single_frame": Architecture(
        "II",
        8,
        24_760_392,
        {"maximum": (0.379, 0.560), "summed": (0.383, 0.562)},
        (673.05, 1675.67),
    ),
    "early_fusion": Architecture(
        "III", 8, 25_074_024, {"summed": (0.470, 0.575)}, (1176.95, 2486.60)
    ),
    "late_fusion": Architecture(
        "IV", 8, 28_954_696, {"summed": (0.563, 0.665)}, (1282.78, 2708.49)
    ),
    "slow_fusion": Architecture("V", 6, 26_355_878, {"summed": (0.492, 0.618)}, (1327.79, 2815.70)),
    "conv3d": Architecture(
        "VI",
        6,
        26_050_694,
        {"summed": (0.462, 0.375), "maximum": (0.427, 0.348)},
        (2240.34, 4908.47),
    ),
    "rnn": Architecture("VII", 6, 3_763_390, {"summed": (0.29, 0.28)}, (2088.28, 4427.15)),
}

# Section VI-B.5 says that maximum probability wins on CK+ for the 3D convolution; its Table VI says the opposite.
TABLE_VI_NOTE = "The paper's text (VI-B.5) contradicts its Table VI on which vote wins for CK+; the table is shown."


@dataclass(frozen=True)
class Literature:
    """A published figure of another work, for context.

    Attributes:
        source: authors, year and reference number in the paper.
        method: what was done, in a few words.
        data: the set.
        quoted: the figure, 0 to 1, as the paper's section III quotes it; None where it quotes none.
        stated: the figure as the source itself states it; None where that was not found.
        protocol: how it was got.
        known: what the last two columns rest on: "seen" in a figure, table or abstract of the source, or of a work that
            compares with it; "recalled", told of it and not checked.
    """

    source: str
    method: str
    data: str
    quoted: float | None
    stated: float | None
    protocol: str
    known: str


_FIVE = "5 subject-independent folds (recalled), 6 classes, 309 last frames"
_TEN = "10 subject-independent folds (recalled)"
_HASANI = "Hasani & Mahoor 2017 [4]"
_JUNG = "Jung et al. 2015 [5]"
LITERATURE = (
    Literature(
        "Mollahosseini et al. 2016 [3]",
        "Inception network on the last frame",
        "CK+",
        0.932,
        0.932,
        _FIVE,
        "seen: its Table 3",
    ),
    Literature(
        _HASANI,
        "Inception-ResNet with a CRF",
        "CK+",
        0.9304,
        0.9304,
        "5 subject-independent folds (recalled), neutral is a label",
        "seen: its Table I",
    ),
    Literature(
        _HASANI,
        "Inception-ResNet without the CRF",
        "CK+",
        None,
        0.8577,
        "5 subject-independent folds (recalled), neutral is a label",
        "seen: its Table I",
    ),
    Literature(
        _JUNG,
        "appearance and landmark networks, joint",
        "CK+",
        0.9725,
        0.9725,
        f"{_TEN}, 7 classes, 327 sequences",
        "seen: its Table 2",
    ),
    Literature(
        _JUNG,
        "appearance and landmark networks, joint",
        "Oulu-CASIA",
        0.8146,
        0.8146,
        f"{_TEN}, 6 classes, 480 sequences",
        "seen: its Table 4",
    ),
    Literature(
        "Liu et al. 2014 [6]",
        "3D CNN with deformable parts",
        "CK+",
        0.879,
        0.924,
        "15 subject-independent folds (recalled), 7 classes",
        "seen: its Table 4, overall; 0.879 may be a mean of per-class rates",
    ),
    Literature(
        "Ebrahimi Kahou et al. 2015 [7]",
        "CNN, IRNN and sound, fused",
        "EmotiW 2015",
        0.5287,
        0.52875,
        "the challenge's test set, 7 classes",
        "recalled",
    ),
    Literature(
        "Kahou et al. 2016 [2]",
        "four streams, weighted",
        "EmotiW 2014",
        0.4767,
        0.4767,
        "the challenge's test set, 7 classes",
        "seen: its abstract",
    ),
    Literature(
        "Chao et al. 2014 [8]",
        "five deep belief networks, two time scales",
        "AVEC 2014",
        0.5499,
        None,
        "the challenge's test set; the score is a correlation (recalled), no accuracy",
        "recalled",
    ),
    Literature(
        "Zhang et al. 2019 [9]",
        "spatial-temporal RNN",
        "CK+",
        0.984,
        0.954,
        "10 folds",
        "seen: its Table III",
    ),
)
FINAL_MODEL = (
    "The paper's final model (late fusion on CK+ and Oulu-CASIA in three lights, one Oulu-CASIA subject held out): "
    "0.6667 on 18 sequences; 9,575.46 s of training on 1,567 sequences, 0.97 s of testing."
)


def paper_set(name: str) -> str | None:
    """Which of the paper's two sets a data set's name stands for, or None.

    CK+ is a name that starts with "ck"; Oulu-CASIA is one with "oulu" that does not speak of weak or dark light or
    of near infrared, for the paper's tables are of strong visible light. A joined set is neither.
    """
    name = name.lower()
    if "+" in name.removeprefix("ck+"):
        return None
    if "oulu" in name:
        other = ("weak", "dark", "nir", "infrared", "ck", "+")
        return None if any(word in name for word in other) else "Oulu-CASIA"
    return "CK+" if name.startswith("ck") else None
