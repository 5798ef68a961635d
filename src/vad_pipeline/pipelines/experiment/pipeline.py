"""A table of experiments as a pipeline: a namespace per row, then the table."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.experiments.experiments import Experiment
from vad_pipeline.pipelines.detector import nodes as detector
from vad_pipeline.pipelines.detector.pipeline import trivial_baselines
from vad_pipeline.pipelines.experiment import nodes


def create_pipeline(experiment: Experiment) -> Pipeline:
    """Everything from frames to the experiment's table."""
    whole = trivial_baselines()
    models = sorted({row.model for row in experiment.rows if not row.colour})
    for model in models:
        resize = Node(detector.resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames")
        whole += Pipeline([resize], inputs={"native_frames": "frames"}, namespace=model)
    for row in experiment.rows:
        reads = ["frames", "labels", "params:model", "params:size", "params:scoring", "params:budget"]
        reads += ["working_directory", "params:eval_split"]
        inputs = {
            "frames": f"{row.model}.frames",
            "labels": "labels",
            "working_directory": f"{experiment.name}.working_directory",
        }
        steps: list[Node] = []
        as_the_row_reads = nodes.resize_node(row)
        if row.colour:
            inputs |= {"native_frames": "frames"}
            del inputs["frames"]
            steps += [Node(as_the_row_reads, ["native_frames", "params:size"], "frames", name="resize_frames")]
        if row.pseudo:
            reads += ["pseudo_frames"]
            inputs |= {"spatial": f"{row.pseudo}.spatial"}
            steps += [Node(as_the_row_reads, ["spatial", "params:size"], "pseudo_frames", name="resize_pseudo_frames")]
        steps += [Node(nodes.row_node(experiment, row), reads, ["scores", "metrics"], name="run_row")]
        whole += Pipeline(
            steps,
            inputs=inputs,
            parameters={
                "params:model": f"params:{row.model}.model",
                "params:size": f"params:{row.model}.frames",
                "params:scoring": f"params:{row.model}.scoring",
                "params:budget": f"params:{experiment.name}",
                "params:eval_split": "params:eval_split",
            },
            namespace=experiment.namespace(row),
        )
    table = Node(
        nodes.table_node(experiment),
        [
            "params:dataset",
            "params:eval_split",
            "labels",
            "trivial_scores",
            *(f"{experiment.namespace(r)}.metrics" for r in experiment.rows),
        ],
        f"{experiment.name}.table",
        name=f"{experiment.name}_table",
    )
    return whole + Pipeline([table])
