"""Programs that take large scratch memory, on a CPU that of the process."""

from typing import Any

from stfer.storage import freed_memory


class Program:
    """A jitted function that is compiled before its first call, and has room made for each.

    The compiler's memory is given back before the program takes its own, and of what earlier calls freed, nothing stays
    that this call would not use (`stfer.storage.freed_memory`).

    Args:
        jitted: What `jax.jit` returns.
    """

    def __init__(self, jitted: Any):
        self.jitted = jitted
        self._scratch: int | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call it; the arguments' shapes are those of the first call."""
        if self._scratch is None:
            sizes = self.jitted.lower(*arguments).compile().memory_analysis()
            self._scratch = getattr(sizes, "temp_size_in_bytes", 0)
            freed_memory.give_back()
        freed_memory.make_room(self._scratch)
        return self.jitted(*arguments)
