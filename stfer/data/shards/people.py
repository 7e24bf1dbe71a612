"""Who a set shows, under the names that hold in every set of their population."""

from collections.abc import Collection, Mapping

from stfer.data.shards.reader import Shards


def persons(shards: Shards) -> list[tuple[str, str]]:
    """Who is seen in each sequence: population and subject, under the names that they have alone."""
    headers = shards.header.get("sets") or [shards.header]
    populations = sorted({header["population"] for header in headers}, key=len, reverse=True)
    if len(populations) == 1:
        return [(populations[0], subject) for subject in shards.subjects]
    found = []
    for subject in shards.subjects:
        population = next(p for p in populations if subject.startswith(f"{p}:"))
        found.append((population, subject[len(population) + 1 :]))
    return found


def named_among(shards: Shards, people: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The set's own names of those of its people who are among others.

    Args:
        shards: The set.
        people: From population to subjects, as `persons` names them.
    """
    pairs = zip(persons(shards), shards.subjects, strict=True)
    return frozenset(own for (group, name), own in pairs if name in people.get(group, ()))
