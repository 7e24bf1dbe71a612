"""What can be asked of a sequence instead of being drawn, such as glasses or a turned head."""

import dataclasses
from dataclasses import dataclass

from stfer.data.synthetic.identities import Identity
from stfer.data.synthetic.lights import DARK, LAMP, load_lights
from stfer.data.synthetic.recipes import VARIANTS
from stfer.nearest import did_you_mean

LARGEST_TURN = 30.0


@dataclass(frozen=True)
class Conditions:
    """Settings of sequences; what is None is drawn. What is not asked for stays the same, whatever else is.

    Attributes:
        glasses, beard, makeup: whether they are worn.
        light: `lamp`, `dark`, or a panorama of `lights.load_lights`.
        turn: degrees of yaw at the first frame; half of the sequences turn to either side.
        variant: a way of `recipes.VARIANTS`, for sequences of the emotion that has it.
        intensity: of the apex, 0.3 to 1.15.
        jpeg: quality of the camera's JPEG, 1 to 100; 0 for none.

    Example:
        >>> Conditions(glasses=True, light="dark", turn=20.0).light
        'dark'
    """

    glasses: bool | None = None
    beard: bool | None = None
    makeup: bool | None = None
    light: str | None = None
    turn: float | None = None
    variant: str | None = None
    intensity: float | None = None
    jpeg: int | None = None

    def __post_init__(self):
        lights = (LAMP, DARK, *load_lights()[0])
        ways = [way for recipes in VARIANTS.values() for way in recipes]
        if self.light not in (None, *lights):
            raise ValueError(
                f"light={self.light!r}: must be one of {', '.join(lights)}"
                f"{did_you_mean(str(self.light), lights)}"
            )
        if self.variant not in (None, *ways):
            raise ValueError(f"variant={self.variant!r}: must be one of {', '.join(ways)}")
        for name, least, most in (
            ("turn", 0, LARGEST_TURN), ("intensity", 0.1, 1.15), ("jpeg", 0, 100)
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name}={value}: must be {least} to {most}")

    def asked(self) -> dict:
        """The settings that are not None."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    def dress(self, identity: Identity) -> Identity:
        """The person with or without glasses, beard and make-up as asked."""
        look = dict(identity.look)
        for name, strength in (("glasses", 1.0), ("beard", 0.7), ("makeup", 0.8)):
            asked = getattr(self, name)
            if asked is not None:
                look[name] = max(look[name], strength) if asked else 0.0
        return dataclasses.replace(identity, look=look)
