"""One detector from frames to metrics: the pipeline that every registered model gets, in a namespace of its own."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.detector import nodes


def create_pipeline(model: str) -> Pipeline:
    """Resize, train, score and evaluate one model; its datasets and parameters are called ``<model>.<name>``."""
    steps = [
        Node(nodes.resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames"),
        Node(
            nodes.train_node(model),
            ["frames", "params:model", "params:frames", "params:training", "params:seed", "working_directory"],
            ["checkpoint", "history"],
            name="train",
        ),
        Node(
            nodes.score_node(model),
            ["checkpoint", "frames", "params:model", "params:frames", "params:scoring", "working_directory"],
            ["scores", "maps"],
            name="score",
        ),
        Node(
            nodes.evaluate_node(model),
            ["scores", "labels", "frames", "params:model", "params:seed", "params:protocol"],
            ["metrics", "scored_frames"],
            name="evaluate",
        ),
        Node(
            nodes.report_node(model),
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
            ],
            ["regularity_figure", "peaks_figure", "roc_figure", "kinds_figure", "learning_curves_figure", "report"],
            name="report",
        ),
    ]
    return trivial_baselines() + Pipeline(
        steps,
        inputs={"native_frames": "frames", "labels": "labels", "trivial_scores": "trivial_scores"},
        parameters={"params:seed", "params:dataset", "params:protocol"},
        namespace=model,
    )


def trivial_baselines() -> Pipeline:
    """Scores that take no learning, once per data set; every table shows them."""
    node = Node(nodes.score_trivial_baselines, "frames", "trivial_scores", name="score_trivial_baselines")
    return Pipeline([node])
