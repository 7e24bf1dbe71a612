"""The embedded synthetic set: 3D faces that go from neutral to the apex of an expression, drawn to image files.

`generate` writes raw frames in CK+'s layout; `default.ensure` makes, preprocesses and caches the default set.
`stage` gives one sequence, or one calm face, to draw frame by frame; `stage_in_turn` gives one person who shows
several expressions in one take. `Conditions` asks for glasses, dark light, a turned head instead of drawing them.
"""

from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.dataset import generate
from stfer.data.synthetic.takes import Take, stage, stage_in_turn

__all__ = ["Conditions", "Take", "generate", "stage", "stage_in_turn"]
