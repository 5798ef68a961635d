"""Runs without test footage: systems are trained and calibrated, and nothing is evaluated, for there is nothing."""

from collections.abc import Mapping
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline

from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.pipelines import frame_extraction

TRAINED = "checkpoint", "history"  # what a training leaves


class Session(KedroSession):
    """Kedro's session, which leaves the steps out of a run that read test footage where the environment names none."""

    _context: KedroContext | None = None

    def load_context(self) -> KedroContext:
        """Kedro's, made once a session."""
        if self._context is None:
            self._context = super().load_context()
        return self._context

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Kedro's.

        Raises:
            ValueError: there is no test footage, and the run is of what measures on it alone.
        """
        names = options.get("pipeline_names") or []
        pipelines.set_requested(names or None)  # before the context, as Kedro has it
        # as it is written: the context's own parameters are typed, by what the run's nodes ask for
        if has_test_footage(self.load_context().config_loader["parameters"]):  # type: ignore[attr-defined]
            return super().run(*args, **options)
        kept: set[str] = set()
        for name in names or ["__default__"]:
            if name in pipelines:
                kept |= {node.name for node in training_alone(name, pipelines[name]).nodes}
        wanted = options.get("node_names")
        options["node_names"] = sorted(kept & set(wanted) if wanted else kept)
        if kept and not options["node_names"]:
            raise ValueError(_unmeasurable(", ".join(wanted or ())))
        return super().run(*args, **options)


def has_test_footage(parameters: Mapping[str, Any]) -> bool:
    """Whether the source has clips to score: all have, but videos of one's own need not."""
    extraction = parameters.get("frame_extraction", {})
    return extraction.get("source") != "videos" or extraction.get("videos", {}).get("test") is not None


def training_alone(name: str, whole: Pipeline) -> Pipeline:
    """What of a pipeline can run without test footage: of systems the extraction and their trainings.

    Args:
        name: of the pipeline.
        whole: all of it.

    Raises:
        ValueError: it reads labels of test footage and trains no system.
    """
    trained = [f"{namespace}.{output}" for namespace in namespaces() for output in TRAINED]
    outputs, extraction = whole.all_outputs(), frame_extraction.create_pipeline()
    if wanted := [output for output in trained if output in outputs]:
        return whole.to_outputs(*wanted) + extraction
    if any("labels" in node.inputs for node in (whole - extraction).nodes):
        raise ValueError(_unmeasurable(name))
    return whole


def namespaces() -> list[str]:
    """Of all parts of all systems: where their trainings lie."""
    return [system.namespace(part) for system in SYSTEMS.values() for part in system.parts]


def _unmeasurable(name: str) -> str:
    return f"{name}: measures on test footage, and frame_extraction.videos.test is null; name a video or a folder there"
