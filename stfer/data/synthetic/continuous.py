"""One person who shows several expressions in turn, in one take, with calm stretches before, between and after."""

from collections.abc import Mapping, Sequence

import numpy as np

from stfer.data.synthetic.expressions import (
    NEUTRAL,
    Performance,
    apex_weights,
    draw_onsets,
    expression_curves,
    finish,
    group_of,
    smoothstep,
)

CONTINUOUS_RATE = 30.0  # Frames a second of a usual camera.


def perform_in_turn(
    rng: np.random.Generator,
    emotions: Sequence[str],
    resting: Mapping[str, float],
    rate: float = CONTINUOUS_RATE,
    intensity: float | None = None,
    turn: float | None = None,
) -> Performance:
    """Draw one take: calm, then each emotion's onset, apex, hold and offset with a calm stretch after it.

    Args:
        rng: the take's random stream.
        emotions: of EMOTIONS_6; `neutral` stands for a longer calm stretch.
        resting: face units that the person's neutral face already shows.
        rate: frames a second.
        intensity: of every apex; each drawn if None.
        turn: degrees of yaw; drawn if None.

    Returns:
        The performance; its `apexes` name the first frame at which each expression is whole. Faces hold it for 0.7 to
        1.2 s, then let go within 0.5 to 0.9 s and stay calm for 1 to 1.6 s.
    """
    plans, clock = [], rng.uniform(1.0, 1.5)
    for emotion in emotions:
        if emotion == NEUTRAL:
            clock += rng.uniform(1.0, 2.0)
            continue
        apex, way, strength = apex_weights(rng, emotion, intensity=intensity)
        onsets = draw_onsets(rng, apex)
        clock -= min(onsets[group_of(unit)][0] for unit in apex)
        hold, offset = rng.uniform(0.7, 1.2), rng.uniform(0.5, 0.9)
        plans.append((clock, emotion, way, strength, apex, onsets, hold, offset))
        clock += hold + offset + rng.uniform(1.0, 1.6)
    times = np.arange(int(np.ceil(clock * rate)) + 1) / rate
    units: dict[str, np.ndarray] = {}
    progress, apexes = np.zeros(len(times)), []
    for moment, emotion, way, strength, apex, onsets, hold, offset in plans:
        moment = np.ceil(moment * rate) / rate
        away = 1 - smoothstep((times - moment - hold) / offset)
        curves, reached = expression_curves(apex, times - moment, onsets)
        for name, curve in curves.items():
            units[name] = units.get(name, 0.0) + curve * away
        progress = np.maximum(progress, reached * away)
        apexes.append((emotion, way, strength, round(moment * rate)))
    return finish(rng, times, units, resting, progress, tuple(apexes), turn)
