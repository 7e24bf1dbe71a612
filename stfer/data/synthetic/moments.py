"""Chosen moments of a sequence: which of its frames a set holds."""

from collections.abc import Sequence

import numpy as np

from stfer.data.synthetic.expressions import MIN_FRAMES

APEX = "apex"
Moment = int | float | str


def parse_moments(texts: Sequence[str]) -> tuple[Moment, ...]:
    """Read moments as typed: `0` and `-15` are frame numbers, `0.5` is a share of the apex, and `apex`.

    Raises:
        ValueError: something else, or out of range; see `check_moments`.
    """
    moments: list[Moment] = []
    for text in texts:
        if text == APEX:
            moments.append(text)
            continue
        try:
            moments.append(float(text) if "." in text else int(text))
        except ValueError:
            raise ValueError(
                f"moments={text}: must be a frame number, a share of the apex such as 0.5, or apex"
            ) from None
    check_moments(moments)
    return tuple(moments)


def check_moments(moments: Sequence[Moment]) -> None:
    """Raise ValueError unless every moment occurs in every sequence.

    Frame numbers are -MIN_FRAMES to MIN_FRAMES - 1, as the shortest sequence has them; shares lie in (0, 1].
    """
    for moment in moments:
        if isinstance(moment, str):
            valid = moment == APEX
        elif isinstance(moment, float):
            valid = 0 < moment <= 1
        else:
            valid = -MIN_FRAMES <= moment < MIN_FRAMES
        if not valid:
            raise ValueError(
                f"moments={moment}: must be a frame number from {-MIN_FRAMES} to {MIN_FRAMES - 1}, "
                "a share of the apex above 0.0 and up to 1.0, or apex"
            )
    if not len(moments):
        raise ValueError("moments: none are given; leave it out for whole sequences")


def frames_at(moments: Sequence[Moment] | None, progress: np.ndarray) -> list[int]:
    """The frames of one sequence that moments name: ascending, each once; all if `moments` is None.

    Args:
        moments: a frame number (negative ones count from the end); a share, which is the first frame at which the
            expression has come that far from the resting face to its apex; or `apex`, the last frame. A sequence that
            expresses nothing reaches no share: there a share is the frame that far on in the sequence.
        progress: float [frames], see Performance.
    """
    count = len(progress)
    if moments is None:
        return list(range(count))
    expressed = progress.max() > 0
    frames = set()
    for moment in moments:
        if moment == APEX:
            frames.add(count - 1)
        elif isinstance(moment, float):
            reached = int(np.argmax(progress >= moment - 1e-6))
            frames.add(reached if expressed else round(moment * (count - 1)))
        else:
            frames.add(int(moment) % count)
    return sorted(frames)
