"""A table of experiments as a pipeline: a namespace per row, then the table."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.detector import nodes as detector
from vad_pipeline.pipelines.detector.pipeline import trivial_baselines
from vad_pipeline.pipelines.experiment import nodes
from vad_pipeline.training.experiments import Experiment


def create_pipeline(experiment: Experiment) -> Pipeline:
    """Everything from frames to the experiment's table."""
    whole = trivial_baselines()
    models = sorted({row.model for row in experiment.rows})
    for model in models:
        resize = Node(detector.resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames")
        whole += Pipeline([resize], inputs={"native_frames": "frames"}, namespace=model)
    for row in experiment.rows:
        node = Node(
            nodes.row_node(experiment, row),
            ["frames", "labels", "params:model", "params:size", "params:scoring", "params:budget", "working_directory"],
            ["scores", "metrics"],
            name="run_row",
        )
        whole += Pipeline(
            [node],
            inputs={
                "frames": f"{row.model}.frames",
                "labels": "labels",
                "working_directory": f"{experiment.name}.working_directory",
            },
            parameters={
                "params:model": f"params:{row.model}.model",
                "params:size": f"params:{row.model}.frames",
                "params:scoring": f"params:{row.model}.scoring",
                "params:budget": f"params:{experiment.name}",
            },
            namespace=experiment.namespace(row),
        )
    table = Node(
        nodes.table_node(experiment),
        [
            "params:dataset",
            "labels",
            "trivial_scores",
            *(f"{experiment.namespace(r)}.metrics" for r in experiment.rows),
        ],
        f"{experiment.name}.table",
        name=f"{experiment.name}_table",
    )
    return whole + Pipeline([table])
