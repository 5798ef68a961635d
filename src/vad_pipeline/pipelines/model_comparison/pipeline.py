"""Trained systems side by side; their own pipelines run before it."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.model_comparison import nodes

PARAMETERS = "model_comparison.systems", "dataset", "seed", "images"
LEFT = "scored_frames", "metrics", "tables", "reports"


def create_pipeline(after: Sequence[str] = ()) -> Pipeline:
    """LGN-Net Figs. 4 and 7 of the systems that have been evaluated, and a page.

    Args:
        after: systems of the same run to wait for.
    """
    reads = [f"params:{name}" for name in PARAMETERS] + [f"{name}_of_all" for name in LEFT]
    reads += [f"{system}.report" for system in after]
    made = [f"model_comparison.{name}" for name in ("roc_figure", "gap_figure", "table", "report")]
    return Pipeline([Node(nodes.compare_models, reads, made, name="compare_models")])
