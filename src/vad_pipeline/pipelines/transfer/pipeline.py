"""Score the evaluated clips of this environment with models that another one trained."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.models.system import System
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.pipelines.bound import bound
from vad_pipeline.pipelines.detector.pipeline import in_namespace, trivial_baselines
from vad_pipeline.pipelines.transfer import nodes

TRANSFERRED = ("lntra_patch", "lntra_skip_frame", "pseudo_anomaly_detector")  # of Table 3


def create_pipeline() -> Pipeline:
    """Table 3: a namespace ``transfer__<system>`` for each system, then the table."""
    whole = trivial_baselines()
    reads = ["params:transfer.source", "params:dataset", "params:eval_split", "labels", "trivial_scores"]
    reads += [f"transfer__{name}.metrics" for name in TRANSFERRED]
    for name in TRANSFERRED:
        system = SYSTEMS[name]
        whole += sum((_scored(system, part) for part in system.parts), Pipeline([])) + _evaluated(system)
        reads += [f"{_namespace(system, part)}.checkpoint" for part in system.parts]
    tabulate = bound(nodes.tabulate_transfer, TRANSFERRED)
    return whole + Pipeline([Node(tabulate, reads, "transfer.table", name="transfer_table")])


def _namespace(system: System, part: str) -> str:
    return f"transfer__{system.namespace(part)}"


def _scored(system: System, part: str) -> Pipeline:
    """From native frames to the raw terms of one part; its checkpoint, which is another data set's, says how."""
    model = model_class(system.parts[part].model)
    native = ["native_frames", "checkpoint", "params:eval_split", "params:source", "params:dataset"]
    steps = []
    if {"frames", "flow"} & set(model.reads):
        steps += [Node(nodes.resize_frames, native, "frames", name="resize_frames")]
    if "flow" in model.reads:
        steps += [Node(nodes.estimate_flow, ["frames", "checkpoint"], "flow", name="estimate_flow")]
    if "features" in model.reads:
        reads = [*native, "params:scoring"]
        steps += [Node(nodes.describe_frames, reads, "features", name="describe_frames")]
    scored = {"checkpoint": "checkpoint", "scoring": "params:scoring", "working_directory": "working_directory"}
    scored |= {stream: stream for stream in model.reads}
    steps += [Node(nodes.score_transferred, scored, "scores", name="score")]
    outside = {
        "native_frames": "frames",
        "params:scoring": f"params:{system.namespace(part)}.scoring",
        "params:source": "params:transfer.source",
    }
    return in_namespace(steps, _namespace(system, part), outside)


def _evaluated(system: System) -> Pipeline:
    outside = {"labels": "labels", "native_frames": "frames"}
    for name in ("scores", "checkpoint"):
        outside |= {f"{part}_{name}": f"{_namespace(system, part)}.{name}" for part in system.parts}
    reads = ["labels", "native_frames", "params:seed", "params:eval_split"]
    reads += [f"{part}_{name}" for name in ("scores", "checkpoint") for part in system.parts]
    evaluate = Node(bound(nodes.evaluate_transferred, system.name), reads, "metrics", name="evaluate")
    return in_namespace([evaluate], f"transfer__{system.name}", outside)
