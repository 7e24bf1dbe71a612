"""One sequence of the synthetic set: who is seen, by which camera, doing what; and its frames.

Every random number comes from `numpy.random.SeedSequence([seed, subject, ...])`, and each frame's noise has a
stream of its own. So the bytes of a frame depend on seed, subject, emotion, take and frame number alone: not on
the number of subjects or processes, nor on which other frames are drawn.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.appearance import Appearance, paint
from stfer.data.synthetic.camera import draw_session
from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.continuous import CONTINUOUS_RATE, perform_in_turn
from stfer.data.synthetic.expressions import NEUTRAL, Performance, perform
from stfer.data.synthetic.identities import Identity, draw_identity
from stfer.data.synthetic.renderer import Portrait

PLAYED = (*EMOTIONS_6, NEUTRAL)
# Streams of one subject: SeedSequence([seed, subject, stream, ...]).
IDENTITY, SESSION, SEQUENCE, FRAME, IN_TURN = range(5)
DRAWN = Conditions()


@dataclasses.dataclass(frozen=True)
class Take:
    """A performance of one person before one camera.

    Attributes:
        portrait: the person and the camera.
        performance: what the face does.
        key: of the frames' random streams.
    """

    portrait: Portrait
    performance: Performance
    key: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.performance)

    def frame(self, moment: int) -> np.ndarray:
        """Draw frame `moment`: uint8 [HEIGHT, WIDTH, 3], RGB."""
        return self.portrait.frame(self.performance, moment, stream(*self.key, moment))

    def frames(self, moments: Iterable[int] | None = None) -> Iterator[np.ndarray]:
        """Draw the frames of the given numbers in turn; all of them by default."""
        for moment in range(len(self)) if moments is None else moments:
            yield self.frame(moment)


def stream(*key: int) -> np.random.Generator:
    """The random stream of a key such as (seed, subject, IDENTITY)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def identity_of(seed: int, subject: int) -> Identity:
    """The person that subject number `subject` (from 1) of a seed is."""
    return draw_identity(stream(seed, subject, IDENTITY))


@functools.lru_cache(maxsize=1)
def _painted(seed: int, subject: int, worn: tuple[bool | None, ...]) -> tuple[Identity, Appearance]:
    glasses, beard, makeup = worn
    wanted = Conditions(glasses=glasses, beard=beard, makeup=makeup)
    identity = wanted.dress(identity_of(seed, subject))
    return identity, paint(identity)


def _portrait(
    seed: int, subject: int, take: int, conditions: Conditions, rng: np.random.Generator
) -> Portrait:
    worn = (conditions.glasses, conditions.beard, conditions.makeup)
    identity, appearance = _painted(seed, subject, worn)
    session = draw_session(stream(seed, subject, SESSION, take), rng, conditions.light)
    if conditions.jpeg is not None:
        session = dataclasses.replace(session, jpeg=conditions.jpeg)
    return Portrait(identity, appearance, session)


def performance_of(
    seed: int, subject: int, emotion: str, take: int = 1, conditions: Conditions = DRAWN
) -> Performance:
    """What the face does in a sequence, without drawing anything; arguments as `stage`."""
    number = PLAYED.index(emotion)
    resting = identity_of(seed, subject).resting
    variant, intensity = conditions.variant, conditions.intensity
    rng = stream(seed, subject, SEQUENCE, number, take)
    return perform(rng, emotion, resting, variant, intensity, conditions.turn)


def stage(
    seed: int, subject: int, emotion: str, take: int = 1, conditions: Conditions = DRAWN
) -> Take:
    """One sequence of the set, ready to be drawn.

    Args:
        seed: of the set, at least 0.
        subject: number of the subject, from 1.
        emotion: one of EMOTIONS_6: neutral to apex; or `neutral`: a calm face that blinks, glances, swallows, speaks.
        take: from 1; another take is another way of playing it, in another session (light, background, camera).
        conditions: what is asked for instead of being drawn.

    Raises:
        ValueError: the emotion cannot be played, or `conditions.variant` is no way of it.
    """
    if emotion not in PLAYED:
        raise ValueError(f"emotion={emotion!r}: must be one of {', '.join(PLAYED)}")
    number = PLAYED.index(emotion)
    performance = performance_of(seed, subject, emotion, take, conditions)
    changes = stream(seed, subject, SESSION, take, number)
    portrait = _portrait(seed, subject, take, conditions, changes)
    return Take(portrait, performance, (seed, subject, FRAME, number, take))


def stage_in_turn(
    seed: int,
    subject: int,
    emotions: Sequence[str] = EMOTIONS_6,
    rate: float = CONTINUOUS_RATE,
    conditions: Conditions = DRAWN,
) -> Take:
    """One continuous take in which a person shows several expressions in turn, calm before, between and after.

    Args:
        seed: of the set, at least 0.
        subject: number of the subject, from 1.
        emotions: names of EMOTIONS_6 in the order of the take; `neutral` stands for a longer calm stretch.
        rate: frames a second.
        conditions: as in `stage`; `variant` has no meaning here.

    Returns:
        A take; `take.performance.apexes` lists (emotion, way, intensity, first frame of the apex).

    Raises:
        ValueError: an emotion that cannot be played.
    """
    unknown = [emotion for emotion in emotions if emotion not in PLAYED]
    if unknown:
        raise ValueError(f"emotions={unknown}: must be of {', '.join(PLAYED)}")
    resting = identity_of(seed, subject).resting
    performance = perform_in_turn(
        stream(seed, subject, IN_TURN),
        emotions,
        resting,
        rate,
        conditions.intensity,
        conditions.turn,
    )
    changes = stream(seed, subject, IN_TURN, 1)
    portrait = _portrait(seed, subject, 1, conditions, changes)
    return Take(portrait, performance, (seed, subject, FRAME, len(PLAYED), 1))


def render_sequence(seed: int, subject: int, emotion: str, take: int = 1) -> Iterator[np.ndarray]:
    """Yield one sequence, neutral to apex: uint8 [HEIGHT, WIDTH, 3], RGB; arguments as `stage`."""
    yield from stage(seed, subject, emotion, take).frames()
