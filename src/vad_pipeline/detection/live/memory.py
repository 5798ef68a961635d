"""Memory of a program that runs for weeks."""

import ctypes


def give_back() -> bool:
    """Let glibc return what is free to the system, in some 20 ms.

    Pictures that one thread makes and others drop leave holes in its heaps; left alone, a watch grows by hundreds of
    megabytes within minutes.

    Returns:
        Whether anything was returned; other C libraries know no such call.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False
