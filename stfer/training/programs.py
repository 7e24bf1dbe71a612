"""Training programs, whose scratch memory is large and on a CPU that of the process."""

from typing import Any

import jax

from stfer.storage import freed_memory


class Program:
    """A jitted function that on a CPU is compiled before its first call, and has room made for each.

    The compiler's memory is given back before the program takes its own, and each call has its scratch memory found
    among what was freed (`stfer.storage.freed_memory.make_room`). Calls with other shapes than the first one's compile
    within the call, and have room made for the first one's scratch memory.

    Args:
        jitted: What `jax.jit` or `jax.pmap` returns.
    """

    def __init__(self, jitted: Any):
        self.jitted = jitted
        self._scratch: int | None = None if jax.default_backend() == "cpu" else 0

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        if self._scratch is None:
            sizes = self.jitted.lower(*arguments).compile().memory_analysis()
            self._scratch = getattr(sizes, "temp_size_in_bytes", 0)
            freed_memory.give_back()
        if self._scratch:
            freed_memory.make_room(self._scratch)
        return self.jitted(*arguments)
