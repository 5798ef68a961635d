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
        resize = Node(
            detector.resize_frames,
            ["frames", f"params:{model}.frames"],
            f"{model}.frames",
            name="resize_frames",
            namespace=model,
        )
        whole += Pipeline([resize])
    for row in experiment.rows:
        namespace = experiment.namespace(row)
        node = Node(
            nodes.row_node(experiment, row),
            [
                f"{row.model}.frames",
                "labels",
                f"params:{row.model}.model",
                f"params:{row.model}.frames",
                f"params:{row.model}.scoring",
                f"params:{experiment.name}",
                f"{experiment.name}.working_directory",
            ],
            [f"{namespace}.scores", f"{namespace}.metrics"],
            name="run_row",
            namespace=namespace,
        )
        whole += Pipeline([node])
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
