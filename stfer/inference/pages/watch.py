"""The page of one prediction: the video, the chosen face's curves in step with it, and what was voted."""

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stfer.inference.drawing import COLOURS
from stfer.inference.timeline import Curve, Timeline
from stfer.pages import fill

PAGE = "index.html"


def watch_page(
    title: str,
    timeline: Timeline,
    tracks: Sequence[Mapping[str, Any]],
    *,
    step: float,
    video: str | None,
    files: Sequence[str],
    settings: Mapping[str, object],
    notes: Sequence[str] = (),
    up: str | None = None,
) -> str:
    """The page's HTML.

    Args:
        title: Of the page.
        timeline: The probabilities of each track over time.
        tracks: As `record.summary` returns them.
        step: Seconds from one frame to the next.
        video: The annotated video beside the page, or None.
        files: What else lies beside it.
        settings: What was asked for, by name.
        notes: What should be known, a sentence each.
        up: The page of all inputs, as an address from this page's, where there are several.
    """
    classes = timeline.classes
    shown = [track for track in tracks if track["track"] in timeline.curves]
    faces = [
        {
            "points": points_of(timeline.curves[track["track"]], timeline.stride),
            "hold": round(1.5 * step * timeline.stride * _curve(timeline, track).frames_per_bin, 4),
        }
        for track in shown
    ]
    first = max(range(len(shown)), key=lambda n: shown[n]["clips"], default=0)
    end = round(timeline.end, 3)
    return fill(
        "stfer.inference.pages",
        "watch.html",
        ("chart.js", "watch.js"),
        {"classes": classes, "faces": faces, "first": first, "step": round(step, 4), "end": end},
        title=title,
        headline=headline(tracks),
        notes=[*notes, *_without_clips(tracks)],
        video=video and urllib.parse.quote(video),
        faces=[_choice(track) for track in shown],
        first=first,
        end=end,
        frames_per_point=max((_curve(timeline, t).frames_per_bin for t in shown), default=1),
        left_out=sum(track["clips"] > 0 for track in tracks) - len(shown),
        picture=next((name for name in files if name.endswith(".png")), ""),
        files=files,
        settings=list(settings.items()),
        up=up,
    )


def points_of(curve: Curve, stride: int = 1) -> list[list[float] | None]:
    """A curve as [seconds, *probabilities] a point, with None where a stretch without clips begins."""
    points: list[list[float] | None] = []
    for seconds, values in zip(*curve.points(stride), strict=True):
        if np.isfinite(seconds):
            points.append([round(float(value), 3) for value in (seconds, *values)])
        elif points and points[-1] is not None:
            points.append(None)
    return points


def headline(tracks: Sequence[Mapping[str, Any]]) -> str:
    """What was voted for the face with the most clips, in a sentence."""
    voted = [track for track in tracks if track["clips"]]
    if not voted:
        return "No clip could be classified." if tracks else "No face was found."
    most = max(voted, key=lambda track: track["clips"])
    votes = most["votes"]
    summed = votes["summed"]["label"]
    other = votes["maximum"]["label"]
    agreed = "both votes" if summed == other else f"summed vote; the maximum vote says {other}"
    share = votes["summed"]["shares"][summed]
    count = f"{most['clips']} clip{'' if most['clips'] == 1 else 's'}"
    return f"Face {most['track']}, {count}: {summed} {share:.2f} ({agreed})."


def _curve(timeline: Timeline, track: Mapping[str, Any]) -> Curve:
    return timeline.curves[track["track"]]


def _choice(track: Mapping[str, Any]) -> dict[str, Any]:
    vote = track["votes"]["summed"]
    red, green, blue = COLOURS[(track["track"] - 1) % len(COLOURS)]
    return {
        "track": track["track"],
        "colour": f"rgb({red}, {green}, {blue})",
        "said": f"{vote['label']} {vote['shares'][vote['label']]:.2f}",
        "span": f"frames {track['first_frame']} to {track['last_frame']}",
    }


def _without_clips(tracks: Sequence[Mapping[str, Any]]) -> list[str]:
    """A note about faces that were followed too shortly for a clip."""
    short = [str(track["track"]) for track in tracks if not track["clips"]]
    if not short:
        return []
    named = ", ".join(short[:8]) + (f" and {len(short) - 8} more" if len(short) > 8 else "")
    return [f"Followed too shortly for a clip: face {named}."]
