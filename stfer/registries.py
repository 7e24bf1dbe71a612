"""Named things that commands and files refer to: one kind of registry for all of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Registry[Item](Mapping[str, Item]):
    """A mapping from name to what was registered under it.

    Registering the same definition again (a notebook cell run twice, `importlib.reload`) replaces it; two
    definitions are the same where module and qualified name are.

    Args:
        kind: What it holds, for error sentences: "task".
    """

    def __init__(self, kind: str):
        self._kind = kind
        self._items: dict[str, Item] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """A decorator that registers what it decorates under `name`.

        Raises:
            ValueError: The name is taken by another definition.
        """

        def add(item: Any) -> Any:
            taken = self._items.get(name)
            if taken is not None and origin(taken) != origin(item):
                raise ValueError(
                    f"the {self._kind} name {name!r} is taken by {'.'.join(origin(taken))}; "
                    f"register {'.'.join(origin(item))} under another name"
                )
            self._items[name] = item
            return item

        return add

    def replace(self, name: str, item: Item) -> None:
        """Put a value, which has no definition to compare, under `name`."""
        self._items[name] = item

    def find(self, name: str) -> Item:
        """What has the name.

        Raises:
            ValueError: Nothing has; lists the names.
        """
        if name not in self._items:
            raise ValueError(
                f"the {self._kind} {name!r} is unknown; it must be one of {', '.join(self._items)}"
            )
        return self._items[name]

    def __getitem__(self, name: str) -> Item:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def origin(item: Any) -> tuple[str, str]:
    """Module and qualified name of a definition (of its class, for an instance; of its function, for a partial)."""
    item = getattr(item, "func", item)
    if not hasattr(item, "__qualname__"):
        item = type(item)
    return item.__module__, item.__qualname__
