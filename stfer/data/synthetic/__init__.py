"""The embedded synthetic set: 3D faces that go from neutral to the apex of an expression, drawn to image files.

`generate` writes raw frames in CK+'s layout; `default.ensure` makes, preprocesses and caches the default set.
"""

from stfer.data.synthetic.dataset import generate

__all__ = ["generate"]
