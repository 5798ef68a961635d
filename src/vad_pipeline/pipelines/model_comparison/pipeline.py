"""Trained systems side by side; their own pipelines run before it."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.model_comparison import nodes


def create_pipeline() -> Pipeline:
    """LGN-Net Figs. 4 and 7 of the systems that have been evaluated."""
    reads = ["params:model_comparison.systems", "params:dataset", "scored_frames_of_all"]
    made = [f"model_comparison.{name}" for name in ("roc_figure", "gap_figure", "table")]
    return Pipeline([Node(nodes.compare_models, reads, made, name="compare_models")])
