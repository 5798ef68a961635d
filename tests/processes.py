"""Processes of their own that find the libraries imported, which takes seconds: a server imports them and is forked.

Only libraries: what a process reads of the project, and from where, is its own matter.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LIBRARIES = (
    "torch",
    "lightning",
    "diffusers.pipelines.auto_pipeline",
    "kedro.io",
    "kedro.pipeline",
    "kedro.runner",
    "pandas",
    "scipy.stats",
    "sklearn.metrics",
    "matplotlib.pyplot",
    "cv2",
    "av",
)
FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(list(LIBRARIES))


def start(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Starts a function that a module has, in a process with the environment variables that this one has now."""
    process = FORKED.Process(target=_call, args=(dict(os.environ), function, arguments))
    process.start()
    return process


def kedro(
    *arguments: str, folder: Path, environment: Mapping[str, str], timeout: float = 300, until: str | None = None
) -> tuple[int, str]:
    """`python -m kedro` with arguments, in a folder; returns the exit code and both outputs together.

    Once its output holds ``until``, it is told to end by SIGTERM.
    """
    with TemporaryDirectory() as written:
        output = Path(written) / "output"
        process = FORKED.Process(target=_call, args=(dict(environment), _kedro, (arguments, folder, output)))
        process.start()
        if until is not None:
            late = time.monotonic() + timeout
            while process.exitcode is None and time.monotonic() < late:
                process.join(0.05)
                if output.exists() and until in output.read_text(encoding="utf-8"):
                    process.terminate()
                    break
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"kedro {' '.join(arguments)}: not done\n{output.read_text(encoding='utf-8')}")
        return process.exitcode, output.read_text(encoding="utf-8")


def _call(environment: Mapping[str, str], function: Callable[..., object], arguments: Sequence[Any]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def _kedro(arguments: Sequence[str], folder: Path, output: Path) -> None:
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = ["kedro", *arguments]
    from kedro.framework.cli import main

    main()
