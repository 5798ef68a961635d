"""Processes that are killed."""

import signal
from collections.abc import Callable

import pytest

from tests.processes import start


@pytest.fixture
def killed() -> Callable[..., None]:
    """Calls a function in a process of its own that is to die of SIGKILL."""

    def run(function: Callable[..., object], *arguments: object) -> None:
        process = start(function, *arguments)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL

    return run
