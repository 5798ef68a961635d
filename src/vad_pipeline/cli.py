"""The project's commands: Kedro's `run`, which says in one sentence why it stopped, `camera`, `score`, `watch`,
`hand-over` and `prune`."""

import copy
import functools
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from vad_pipeline.io.prune import prune as prune_clips
from vad_pipeline.settings import PROJECT
from vad_pipeline.terminal.camera import camera, init
from vad_pipeline.terminal.errors import is_for_users, sentence_of
from vad_pipeline.terminal.hand_over import hand_over
from vad_pipeline.terminal.log_file import log_to_file, log_traceback
from vad_pipeline.terminal.score import score
from vad_pipeline.terminal.watch import watch

VERBOSE = click.Option(
    ["--verbose"], is_flag=True, envvar="VAD_VERBOSE", help="Print the traceback of an error (or set VAD_VERBOSE=1)."
)


def readable(command: click.Command) -> click.Command:
    """The command with an option ``--verbose``, whose errors end in a sentence and exit code 1."""
    made = copy.copy(command)
    made.params = [*command.params, VERBOSE]
    assert command.callback is not None
    made.callback = functools.update_wrapper(functools.partial(_readably, command.callback), command.callback)
    return made


def _readably(callback: Callable[..., Any], *args: Any, verbose: bool, **options: Any) -> Any:
    log = log_to_file(PROJECT)
    warnings.filterwarnings("ignore", "Option '--pipeline' is deprecated")  # it is one of two ways to say the same
    try:
        return callback(*args, **options)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        log_traceback(error)
        sys.stdout.flush()
        if verbose or not is_for_users(error):
            traceback.print_exception(error)
        elif log:
            click.secho(f"\nAll of it is in {log}; --verbose prints the traceback.", err=True, dim=True)
        click.echo(err=True)
        click.secho(sentence_of(error), err=True, fg="red", bold=True)
        raise click.exceptions.Exit(1) from None


@click.group(name="vad_pipeline")
def cli() -> None:
    """Commands of this project."""


run = readable(kedro_run)
cli.add_command(run)
cli.add_command(readable(prune_clips))
cli.add_command(readable(score))
cli.add_command(readable(watch))
cli.add_command(readable(hand_over))
camera.add_command(readable(init))
cli.add_command(camera)
