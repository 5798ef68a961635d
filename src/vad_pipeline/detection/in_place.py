"""A folder that is replaced as a whole: under its name there is the earlier one or the new one, at any moment."""

import ctypes
import os
import shutil
from pathlib import Path

HERE, EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux' renameat2


def put_in_place(made: Path, folder: Path) -> None:
    """Give a finished folder its name, and delete what had that name before.

    Args:
        made: the finished folder, on the same file system.
        folder: the name.
    """
    if not folder.exists():
        made.replace(folder)
        return
    if not exchanged(made, folder):
        aside = folder.with_name(f".{folder.name}.earlier")
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
        try:
            made.replace(folder)
        except OSError:
            aside.replace(folder)
            raise
        made = aside
    shutil.rmtree(made)


def exchanged(one: Path, other: Path) -> bool:
    """Whether two names could be exchanged in one step; not every system and file system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return rename(HERE, os.fsencode(one), HERE, os.fsencode(other), ctypes.c_uint(EXCHANGE)) == 0
