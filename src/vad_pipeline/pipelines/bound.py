"""Node functions made for one system: a function of a nodes module with its first arguments given."""

import functools
import inspect
from collections.abc import Callable
from typing import Any


class Bound(functools.partial):
    """A partial that is typed and named like a function, so that Kedro checks its parameters and processes share it.

    Kedro builds typed parameters from the annotations of a node function. ``functools.partial`` has none; and a
    function made inside another one cannot be handed to a process of ParallelRunner.
    """


def bound(function: Callable[..., Any], *first: Any, **types: type) -> Callable[..., Any]:
    """A function with its first arguments given.

    Args:
        function: of a module, so that it can be imported where the node runs.
        first: its first arguments; they can be pickled.
        types: argument -> its type here, where the function's annotation leaves it open.
    """
    made = Bound(function, *first)
    given = list(inspect.signature(function).parameters)[: len(first)]
    annotations = inspect.get_annotations(function, eval_str=True)
    made.__annotations__ = {name: hint for name, hint in annotations.items() if name not in given} | types
    made.__name__ = function.__name__  # type: ignore[attr-defined]
    made.__doc__ = function.__doc__
    return made
