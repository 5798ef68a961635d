"""Order of names: numbers inside them count as numbers."""

import re


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts ``2`` before ``10``; names of equal numbers (``1`` and ``01``) are ordered by their spelling.

    >>> sorted(["test/10", "test/2", "test/1"], key=natural_key)
    ['test/1', 'test/2', 'test/10']
    """
    parts: list[tuple[int, int | str]] = [
        (0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part
    ]
    return [*parts, (-1, name)]
