"""What Lightning says that tells whoever trains a model nothing."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

NOISE = (  # regular expressions for the beginning of a message
    r"Checkpoint directory .* exists and is not empty",  # it holds the lock and what an interrupted fit left
    r"You defined a `validation_step` but have no `val_dataloader`",  # clips may be too few to hold any out
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own call of torch
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leaves out ``NOISE`` while a module is fitted; every other warning is shown as before.

    What Lightning logs goes where the project's logs go, and not to Lightning's own console beside that.
    """
    lightning = logging.getLogger("lightning")
    consoles, lightning.handlers = lightning.handlers, []
    try:
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        lightning.handlers = consoles
