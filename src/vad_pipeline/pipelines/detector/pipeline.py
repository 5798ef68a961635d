"""One detector from frames to metrics: the pipeline that every registered model gets, in a namespace of its own."""

from collections.abc import Mapping

from kedro.pipeline import Node, Pipeline

from vad_pipeline.models import MODELS
from vad_pipeline.pipelines.detector import nodes


def create_pipeline(model: str) -> Pipeline:
    """Resize, train, score and evaluate one model; its datasets and parameters are called ``<model>.<name>``."""
    steps = [
        Node(nodes.resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames"),
        *train_and_score(model, model, {"frames": "frames"}),
        Node(
            nodes.evaluate_node(model),
            ["scores", "labels", "frames", "params:model", "params:seed", "params:protocol", "params:eval_split"],
            ["metrics", "scored_frames"],
            name="evaluate",
        ),
        Node(
            nodes.report_node(model, MODELS[model].terms),
            [
                "metrics",
                "scored_frames",
                "trivial_scores",
                "labels",
                "checkpoint",
                "history",
                "frames",
                "maps",
                "params:scoring",
                "params:dataset",
                "params:eval_split",
            ],
            ["regularity_figure", "peaks_figure", "roc_figure", "kinds_figure", "learning_curves_figure", "report"],
            name="report",
        ),
    ]
    return trivial_baselines() + Pipeline(
        steps,
        inputs={"native_frames": "frames", "labels": "labels", "trivial_scores": "trivial_scores"},
        parameters={"params:seed", "params:dataset", "params:protocol", "params:eval_split"},
        namespace=model,
    )


def train_and_score(
    model: str, namespace: str, streams: Mapping[str, str], pseudo: str | None = None, size: str = "params:frames"
) -> list[Node]:
    """Nodes from clips to raw terms.

    Args:
        model: name in the registry.
        namespace: that the nodes will get.
        streams: stream -> dataset.
        pseudo: dataset of pseudo-anomalies of the stream that they replace.
        size: parameter that says the frames' size.
    """
    shared = {"config": "params:model", "size": size, "working_directory": "working_directory"}
    learns = {**shared, "training": "params:training", "seed": "params:seed", **streams}
    if pseudo:
        learns["pseudo"] = pseudo
    scored = ["scores", "maps"] if MODELS[model].has_maps else ["scores"]
    return [
        Node(nodes.train_node(model, namespace), learns, ["checkpoint", "history"], name="train"),
        Node(
            nodes.score_node(model),
            {
                **shared,
                "checkpoint": "checkpoint",
                "scoring": "params:scoring",
                "split": "params:eval_split",
                **streams,
            },
            scored if len(scored) > 1 else scored[0],
            name="score",
        ),
    ]


def trivial_baselines() -> Pipeline:
    """Scores that take no learning, once per data set; every table shows them."""
    reads = ["frames", "params:eval_split"]
    node = Node(nodes.score_trivial_baselines, reads, "trivial_scores", name="score_trivial_baselines")
    return Pipeline([node])
