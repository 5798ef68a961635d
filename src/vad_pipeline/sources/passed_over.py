"""What lies in a folder and is not read: said once, so that nothing is missing without a word."""

import logging
from collections.abc import Collection
from functools import cache
from pathlib import Path

SIDE_FILES = frozenset({"thumbs.db", "desktop.ini"})  # that Windows leaves everywhere
SHOWN = 10  # names in a message
logger = logging.getLogger(__name__)


def passed_over(folder: Path, read: Collection[Path] = ()) -> str:
    """``; passed over: `` and the names of what a folder holds besides what is ``read``, empty where there is nothing.

    Hidden files do not count.
    """
    left = [p for p in sorted(folder.iterdir()) if p not in read and not p.name.startswith(".")]
    names = [f"{p.name} (a folder)" if p.is_dir() else p.name for p in left if p.name.lower() not in SIDE_FILES]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"; passed over: {', '.join(names[:SHOWN])}{more}" if names else ""


def say_passed_over(folder: Path, read: Collection[Path]) -> None:
    """Logs a warning that names what is passed over; the same one only once."""
    names = passed_over(folder, read)
    if names:
        _warn(f"{folder}{names}")


@cache
def _warn(message: str) -> None:
    logger.warning(message)
