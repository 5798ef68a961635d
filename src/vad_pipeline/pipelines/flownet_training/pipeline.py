"""Rendered pairs -> a trained FlowNet."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.flownet_training import nodes


def create_pipeline() -> Pipeline:
    """The flownet_training pipeline; its weights are a file for ``optical_flow.flownet.checkpoint``."""
    steps = [
        Node(nodes.choose_textures, ["native_frames", "params:textures"], "textures", name="choose_textures"),
        Node(
            nodes.train,
            ["textures", "params:network", "params:rendered", "params:training", "params:seed", "working_directory"],
            ["checkpoint", "history", "metrics"],
            name="train",
        ),
        Node(
            nodes.report,
            ["textures", "params:rendered", "params:seed", "checkpoint", "history"],
            ["pairs_figure", "learning_curves_figure"],
            name="report",
        ),
    ]
    return Pipeline(steps, inputs={"native_frames": "frames"}, parameters={"params:seed"}, namespace="flownet_training")
