"""A table of experiments as a pipeline: a namespace per row, then the table."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.experiments.experiments import EXPERIMENTS, Experiment, Row
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.pipelines.bound import bound
from vad_pipeline.pipelines.detector.pipeline import (
    ESTIMATORS,
    in_namespace,
    pseudo_nodes,
    stream_nodes,
    trivial_baselines,
)
from vad_pipeline.pipelines.experiment import nodes


def create_pipeline(name: str) -> Pipeline:
    """Everything from frames to the experiment's table."""
    experiment = EXPERIMENTS[name]
    rows = sum((_row_pipeline(experiment, row) for row in experiment.rows), Pipeline([]))
    reads = ["params:dataset", "params:eval_split", "labels", "trivial_scores"]
    reads += [f"{experiment.namespace(row)}.metrics" for row in experiment.rows]
    tabulate = bound(nodes.tabulate_rows, name)
    table = Node(tabulate, reads, f"{name}.table", name=f"{name}_table")
    return trivial_baselines() + rows + Pipeline([table, _figures(experiment)])


def _figures(experiment: Experiment) -> Node:
    """ROC curves and gap scores of all rows."""
    reads = ["params:eval_split", "params:images", "labels"]
    reads += [f"{experiment.namespace(row)}.{name}" for name in ("metrics", "scores") for row in experiment.rows]
    reads += [f"params:{row.system}.model" for row in experiment.rows]
    drawn = [f"{experiment.name}.{name}_figure" for name in ("roc", "gap")]
    return Node(bound(nodes.draw_rows, experiment.name), reads, drawn, name=f"{experiment.name}_figures")


def _row_pipeline(experiment: Experiment, row: Row) -> Pipeline:
    """One row, from native frames to metrics; it has the streams that it reads, in the colour that it asks for."""
    model_name = SYSTEMS[row.system].parts[ONLY].model
    model = model_class(model_name)
    steps = [_of_the_row(experiment, row, step) for step in stream_nodes(model_name)]
    reads = {
        "labels": "labels",
        "config": "params:model",
        "size": "params:frames",
        "scoring": "params:scoring",
        "budget": "params:budget",
        "working_directory": "working_directory",
        "split": "params:eval_split",
        "dataset": "params:dataset",
        "images": "params:images",
        **({name: f"params:{name}" for name in ESTIMATORS} if "flow" in model.reads else {}),
        **{stream: stream for stream in model.reads},
    }
    outside = {
        "native_frames": "frames",
        "labels": "labels",
        "working_directory": f"{experiment.name}.working_directory",
        "params:budget": f"params:{experiment.name}",
    }
    outside |= {f"params:{name}": f"params:{row.system}.{name}" for name in ("model", "frames", "scoring")}
    if row.pseudo:
        outside["pseudo_native"] = f"{row.pseudo}.spatial"
        made, reads["stored"] = pseudo_nodes(model_name)
        steps += [_of_the_row(experiment, row, step) for step in made]
    run = bound(nodes.run_experiment_row, experiment.name, row.name, config=model.config_class, **ESTIMATORS)
    steps += [Node(run, reads, ["scores", "metrics"], name="run_row")]
    return in_namespace(steps, experiment.namespace(row), outside)


def _of_the_row(experiment: Experiment, row: Row, step: Node) -> Node:
    """A node that makes a stream, doing so in the row's colour and by its configuration; others as they are."""
    if step.name == "estimate_flow":
        config = model_class(SYSTEMS[row.system].parts[ONLY].model).config_class
        made = bound(nodes.estimate_flow, experiment.name, row.name, config=config)
    elif row.colour and "params:frames" in step.inputs:
        made = bound(nodes.resize_frames, experiment.name, row.name)
    else:
        return step
    return Node(made, step.inputs, step.outputs[0], name=step.name)
