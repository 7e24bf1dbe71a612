"""HTML pages that show predictions: one to watch a video with its curves, and an overview of several inputs.

A page needs no network: its styles and scripts are in it, and the video and tables lie beside it. It works from a
file's address (`file://`) as from a server's.
"""

from stfer.inference.pages.overview import Row, overview_page
from stfer.inference.pages.watch import watch_page

__all__ = ["Row", "overview_page", "watch_page"]
