"""Votes over pairs of frames beside the paper's single pair, as a table."""

from collections.abc import Mapping, Sequence

from stfer.evaluation.paired import gain_of_predictions
from stfer.evaluation.records import Prediction
from stfer.evaluation.significance import holm
from stfer.evaluation.voting import VOTES
from stfer.reporting.tables import Column, Table

SINGLE = "last"


def pair_table(found: Mapping[str, Sequence[Prediction]], title: str) -> Table:
    """Every rule of pairs and both votes, against the single pair on the same trained folds.

    Args:
        found: From rule to predictions, as `stfer.runs.pair_votes.vote_again` returns them; `last` is among them.
        title: What was tested.
    """
    single = found[SINGLE]
    others = [(rule, vote) for rule in found if rule != SINGLE for vote in VOTES]
    gains = [gain_of_predictions([found[rule]], [single], vote) for rule, vote in others]
    known = [gain.p for gain in gains if gain.p is not None]
    corrected = iter(holm(known))
    rows: list[tuple] = []
    if gains:
        rows.append((SINGLE, "-", gains[0].sequences, gains[0].reference, None, None, None))
    for (rule, vote), gain in zip(others, gains, strict=True):
        p = None if gain.p is None else next(corrected)
        rows.append((rule, vote, gain.sequences, gain.accuracy, gain.difference, gain.interval, p))
    return Table(
        "pair_votes",
        f"Votes over pairs of frames, {title}",
        (
            Column("Pairs"),
            Column("Vote"),
            Column("Sequences", "count"),
            Column("Accuracy", "share"),
            Column("Against last", "difference"),
            Column("95 % interval", "interval"),
            Column("p, permutation", "p"),
        ),
        tuple(rows),
        (
            "Interval: bootstrap over subjects. p: permutation test over subjects, corrected after Holm for all rows.",
        ),
    )
