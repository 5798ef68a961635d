"""Score the evaluated clips of this environment with models that another one trained."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.models.pseudo_anomaly_detector import PARTS
from vad_pipeline.pipelines.detector.pipeline import trivial_baselines
from vad_pipeline.pipelines.transfer import nodes

SYSTEMS = ("lntra_patch", "lntra_skip_frame", "pseudo_anomaly_detector")  # of Table 3
FUSED = "pseudo_anomaly_detector"
SHARED = {name: name for name in ("params:seed", "params:eval_split")}
EVALUATED = ["labels", "native_frames"]


def create_pipeline() -> Pipeline:
    """Table 3: a namespace ``transfer__<system>`` for each system, then the table."""
    whole = trivial_baselines()
    for system in SYSTEMS:
        name = f"transfer__{system}"
        if system == FUSED:
            whole += sum((_scored(part, f"{name}.{part}", f"{FUSED}.{part}") for part in PARTS), Pipeline([]))
            reads = [*(f"{part}_scores" for part in PARTS), *EVALUATED, "params:seed", "params:eval_split"]
            evaluation = Node(nodes.evaluate_fused, reads, "metrics", name="evaluate")
            of_parts = {f"{part}_scores": f"{name}.{part}.scores" for part in PARTS}
        else:
            whole += _scored(system, name, system)
            reads = ["scores", *EVALUATED, "checkpoint", "params:seed", "params:eval_split"]
            evaluation = Node(nodes.evaluate_node(system), reads, "metrics", name="evaluate")
            of_parts = {"scores": f"{name}.scores", "checkpoint": f"{name}.checkpoint"}
        inputs = {"labels": "labels", "native_frames": "frames", **of_parts}
        whole += Pipeline([evaluation], inputs=inputs, parameters=SHARED, namespace=name)
    checkpoints = [f"transfer__{s}.spatial.checkpoint" if s == FUSED else f"transfer__{s}.checkpoint" for s in SYSTEMS]
    reads = ["params:transfer.source", "params:dataset", "params:eval_split", "labels", "trivial_scores"]
    reads += [*(f"transfer__{system}.metrics" for system in SYSTEMS), *checkpoints]
    return whole + Pipeline([Node(nodes.tabulate_node(SYSTEMS), reads, "transfer.table", name="transfer_table")])


def _scored(part: str, namespace: str, trained: str) -> Pipeline:
    """From native frames to the raw terms of one model.

    Args:
        part: its part of the fused detector, or a detector's name.
        namespace: of the nodes; ``<namespace>.checkpoint`` is the other data set's.
        trained: namespace that it was trained in, whose scoring parameters count.
    """
    resize = Node(
        nodes.resize_frames, ["native_frames", "checkpoint", "params:eval_split"], "frames", name="resize_frames"
    )
    flow = Node(nodes.estimate_flow, ["frames", "params:tvl1"], "flow", name="estimate_flow")
    describe = Node(
        nodes.describe_frames,
        ["native_frames", "checkpoint", "params:scoring", "params:eval_split"],
        "features",
        name="describe_frames",
    )
    made = {"temporal": [resize, flow], "discriminator": [describe]}.get(part, [resize])
    streams = {str(output): str(output) for node in made for output in node.outputs}
    reads = {"checkpoint": "checkpoint", "scoring": "params:scoring", "working_directory": "working_directory"}
    score = Node(nodes.score_transferred, reads | streams, "scores", name="score")
    parameters = {"params:scoring": f"params:{trained}.scoring", "params:eval_split": "params:eval_split"}
    if part == "temporal":
        parameters["params:tvl1"] = "params:optical_flow.tvl1"
    return Pipeline([*made, score], inputs={"native_frames": "frames"}, parameters=parameters, namespace=namespace)
