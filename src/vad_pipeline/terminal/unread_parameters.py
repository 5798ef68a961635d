"""Parameters that nothing reads: a slip of the pen would otherwise train for hours with the values of before."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from vad_pipeline.pipeline_registry import make_pipeline, pipeline_makers

# Read without a pipeline of their name: what all share, `jobs` by the runner, `source` by the catalog, `watch` by its
# command.
SHARED = ("dataset", "seed", "protocol", "eval_split", "images", "jobs", "source", "video", "model", "watch")


class UnreadParameters:
    """Kedro's hook: a run with parameters that no pipeline reads stops before it begins.

    All others are called like the pipeline that reads them. What lies below such a name is looked at where the run
    reads any of it or the command line changes it; that of other pipelines is theirs, as they take seconds to import.
    Fields of typed sections are Kedro's to check.
    """

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raises ValueError, with the names that come nearest."""
        parameters: Mapping[str, Any] = catalog.load("parameters")
        roots = [*SHARED, *(name for name in pipeline_makers() if not name.startswith("__"))]
        if unknown := [name for name in parameters if name not in roots]:
            raise ValueError(unread(unknown, roots))
        read = set(sections_read(pipeline.inputs()))
        touched = {name.partition(".")[0] for name in read} | set(run_params.get("runtime_params") or {})
        for root in parameters:
            if root not in touched or root in SHARED:
                continue
            known = {name for name in read if name.partition(".")[0] == root}
            if unread_below(root, parameters[root], known):  # by this run; its own pipeline may
                known |= set(sections_read(make_pipeline(root).inputs()))
            if unknown := unread_below(root, parameters[root], known):
                deeper = {name for name in names_below(root, parameters[root]) if name.startswith(tuple(known))}
                raise ValueError(unread(unknown, known | deeper))


def sections_read(inputs: Iterable[str]) -> Iterator[str]:
    """The parameters among the inputs of a pipeline, without Kedro's prefix."""
    return (name.removeprefix("params:") for name in inputs if name.startswith("params:"))


def unread_below(name: str, value: Any, known: Iterable[str]) -> list[str]:
    """Dotted names at and below a parameter that are neither read, nor part of what is read, nor hold what is.

    >>> unread_below("net", {"model": {"width": 1}, "modle": {"width": 2}}, {"net.model"})
    ['net.modle']
    """
    if name in known:
        return []
    if not isinstance(value, Mapping) or not any(other.startswith(f"{name}.") for other in known):
        return [name]
    return [found for key, inner in value.items() for found in unread_below(f"{name}.{key}", inner, known)]


def names_below(name: str, value: Any) -> Iterator[str]:
    """Dotted names at and below a parameter."""
    yield name
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from names_below(f"{name}.{key}", inner)


def unread(names: Iterable[str], known: Iterable[str]) -> str:
    """What is wrong, and the nearest known names.

    >>> unread(["lgnnet"], ["seed", "lgn_net", "frame_pred"])
    'parameter lgnnet: no pipeline reads it; did you mean lgn_net?'
    """
    known = sorted(known)
    said = []
    for name in names:
        same = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        near = list(dict.fromkeys([*same, *close]))[:3] or known
        hint = f"did you mean {' or '.join(near)}?" if len(near) <= 3 else f"there are {', '.join(near)}"
        said.append(f"parameter {name}: no pipeline reads it; {hint}")
    return "; ".join(said)
