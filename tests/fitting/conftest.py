"""Processes that are killed."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import PROJECT


@pytest.fixture
def killed() -> Callable[..., None]:
    """Runs a line of Python with ``toys`` at hand, in a process of its own that is to die of SIGKILL."""

    def run(line: str, *arguments: object) -> None:
        code = f"import sys; from pathlib import Path; from tests.fitting import toys; {line}"
        ended = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    return run
