"""One system from frames to metrics: the pipeline that every system gets, made of what its models declare."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.flow.dis import DIS
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.models.system import System
from vad_pipeline.models.systems import SYSTEMS, model_class, pictured_part
from vad_pipeline.pipelines.bound import bound
from vad_pipeline.pipelines.detector import nodes

ESTIMATORS: dict[str, type] = {"tvl1": TVL1, "flownet": FlowNetFlow, "dis": DIS}  # of flow
RUN = ("seed", "dataset", "protocol", "eval_split", "images")  # parameters that all namespaces share
SHARED = {f"params:{name}": f"params:{name}" for name in RUN} | {
    f"params:{estimator}": f"params:optical_flow.{estimator}" for estimator in ESTIMATORS
}
FIGURES = ("regularity", "peaks", "reconstructions", "roc", "kinds", "learning_curves")


def create_pipeline(name: str) -> Pipeline:
    """Make streams, train and score each part, fuse them, evaluate and report.

    Data sets and parameters are called ``<system>.<name>``, of a system of several parts ``<system>.<part>.<name>``.
    """
    system = SYSTEMS[name]
    parts = sum((part_pipeline(system, part) for part in system.parts), Pipeline([]))
    return trivial_baselines() + parts + _joined(system)


def part_pipeline(system: System, part: str) -> Pipeline:
    """One part, from native frames to raw terms."""
    declared, namespace = system.parts[part], system.namespace(part)
    model = model_class(declared.model)
    inputs = {"native_frames": "frames"}
    steps = stream_nodes(declared.model)
    learns = {
        "config": "params:model",
        "size": "params:frames",
        "training": "params:training",
        "seed": "params:seed",
        "working_directory": "working_directory",
        "dataset": "params:dataset",
        "native_frames": "native_frames",
        **({name: f"params:{name}" for name in ESTIMATORS} if "flow" in model.reads else {}),
        **{stream: stream for stream in model.reads},
    }
    if declared.pseudo:
        inputs["pseudo_native"] = declared.pseudo
        made, learns["stored"] = pseudo_nodes(declared.model)
        steps += made
    steps += [
        Node(
            bound(nodes.train_model, declared.model, namespace, config=model.config_class, **ESTIMATORS),
            learns,
            ["checkpoint", "history"],
            name="train",
        ),
        Node(
            bound(nodes.score_frames, declared.model, config=model.config_class),
            {
                "checkpoint": "checkpoint",
                "config": "params:model",
                "size": "params:frames",
                "scoring": "params:scoring",
                "split": "params:eval_split",
                "working_directory": "working_directory",
                **{stream: stream for stream in model.reads},
            },
            ["scores", "maps"] if model.has_maps else "scores",
            name="score",
        ),
    ]
    return in_namespace(steps, namespace, inputs, declared.size)


def stream_nodes(model: str) -> list[Node]:
    """Nodes that make what a model reads of ``native_frames``, by the names of the streams."""
    declared = model_class(model)
    steps = []
    if {"frames", "flow"} & set(declared.reads):
        steps += [Node(nodes.resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames")]
    if "flow" in declared.reads:
        estimate = bound(nodes.estimate_flow, model, config=declared.config_class)
        reads = ["frames", "params:model", *(f"params:{name}" for name in ESTIMATORS)]
        steps += [Node(estimate, reads, "flow", name="estimate_flow")]
    if "features" in declared.reads:
        describe = bound(nodes.describe_frames, model, config=declared.config_class)
        reads = ["native_frames", "params:model", "params:scoring"]
        steps += [Node(describe, reads, "features", name="describe_frames")]
    return steps


def pseudo_nodes(model: str) -> tuple[list[Node], str]:
    """Nodes that bring ``pseudo_native`` to the stream that pseudo-anomalies replace, and the data set to train on."""
    declared = model_class(model)
    stream = declared.reads[0]
    if stream == "frames":
        reads = ["pseudo_native", "params:frames"]
        return [Node(nodes.resize_frames, reads, "pseudo_frames", name="resize_pseudo_frames")], "pseudo_frames"
    if stream == "features":
        describe = bound(nodes.describe_frames, model, config=declared.config_class)
        reads = ["pseudo_native", "params:model", "params:scoring"]
        return [Node(describe, reads, "pseudo_features", name="describe_pseudo_frames")], "pseudo_features"
    return [], "pseudo_native"


def in_namespace(steps: list[Node], namespace: str, inputs: dict[str, str], size: str = "") -> Pipeline:
    """Nodes in a namespace, with the parameters that all share.

    Args:
        steps: nodes.
        namespace: of their data sets and parameters.
        inputs: data sets and parameters that come from outside.
        size: section of the parameters whose ``frames`` say the size of frames; empty for the namespace's own.
    """
    parameters = SHARED | ({"params:frames": f"params:{size}.frames"} if size else {})
    read = {name for step in steps for name in step.inputs}
    outside = {name: source for name, source in (parameters | inputs).items() if name in read}
    return Pipeline(
        steps,
        inputs={name: source for name, source in outside.items() if not name.startswith("params:")},
        parameters={name: source for name, source in outside.items() if name.startswith("params:")},
        namespace=namespace,
    )


def trivial_baselines() -> Pipeline:
    """Scores that take no learning, once per data set; every table shows them."""
    reads = ["frames", "params:eval_split"]
    node = Node(nodes.score_trivial_baselines, reads, "trivial_scores", name="score_trivial_baselines")
    return Pipeline([node])


def _joined(system: System) -> Pipeline:
    """From the parts' raw terms to metrics and report."""
    inputs = {"native_frames": "frames", "labels": "labels", "trivial_scores": "trivial_scores"}
    steps = []
    if system.fused:
        inputs |= {f"{part}_scores": f"{system.namespace(part)}.scores" for part in system.parts}
        inputs |= {f"{part}_checkpoint": f"{system.namespace(part)}.checkpoint" for part in system.parts}
        steps += [Node(nodes.fuse_scores, [f"{part}_scores" for part in system.parts], "scores", name="fuse")]
    checkpoints = [f"{part}_checkpoint" if part else "checkpoint" for part in system.parts]
    evaluated = ["scores", "labels", "trivial_scores", "native_frames"]
    evaluated += [f"params:{name}" for name in ("seed", "protocol", "eval_split", "dataset", "images")]
    steps += [
        Node(
            bound(nodes.evaluate_system, system.name),
            [*evaluated, *checkpoints],
            ["metrics", "table", "scored_frames", "rows"],
            name="evaluate",
        ),
        _report_node(system, inputs),
    ]
    return in_namespace(steps, system.name, inputs)


def _report_node(system: System, inputs: dict[str, str]) -> Node:
    """The report; what it shows of the pictured part is added to ``inputs`` where that has a namespace of its own."""
    part = pictured_part(system)
    model = model_class(system.parts[part].model)
    names = ["checkpoint", "history", *model.reads, *(["maps"] if model.has_maps else [])]
    of_part = {name: f"{part}_{name}" if part else name for name in names}
    if part:
        inputs |= {inner: f"{system.namespace(part)}.{name}" for name, inner in of_part.items()}
        inputs["params:scoring"] = f"params:{system.namespace(part)}.scoring"
    return Node(
        bound(nodes.report_findings, system.name),
        {
            "metrics": "metrics",
            "rows": "rows",
            "scored": "scored_frames",
            "trivial": "trivial_scores",
            "labels": "labels",
            "shown_frames": of_part.get("frames", "native_frames"),
            "scoring": "params:scoring",
            "dataset": "params:dataset",
            "split": "params:eval_split",
            "images": "params:images",
            **of_part,
        },
        [*(f"{figure}_figure" for figure in FIGURES), "report"],
        name="report",
    )
