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
    trained = {system: [f"transfer__{system}"] for system in SYSTEMS}
    trained[FUSED] = [f"transfer__{FUSED}.{part}" for part in PARTS]
    reads = ["params:transfer.source", "params:dataset", "params:eval_split", "labels", "trivial_scores"]
    reads += [f"transfer__{system}.metrics" for system in SYSTEMS]
    reads += [f"{name}.checkpoint" for names in trained.values() for name in names]
    tabulate = nodes.tabulate_node({system: len(names) for system, names in trained.items()})
    return whole + Pipeline([Node(tabulate, reads, "transfer.table", name="transfer_table")])


def _scored(part: str, namespace: str, trained: str) -> Pipeline:
    """From native frames to the raw terms of one model.

    Args:
        part: its part of the fused detector, or a detector's name.
        namespace: of the nodes; ``<namespace>.checkpoint`` is the other data set's.
        trained: namespace that it was trained in, whose scoring parameters count.
    """
    native = ["native_frames", "checkpoint", "params:eval_split", "params:source", "params:dataset"]
    resize = Node(nodes.resize_frames, native, "frames", name="resize_frames")
    flow = Node(nodes.estimate_flow, ["frames", "params:tvl1"], "flow", name="estimate_flow")
    describe = Node(nodes.describe_frames, [*native, "params:scoring"], "features", name="describe_frames")
    made = {"temporal": [resize, flow], "discriminator": [describe]}.get(part, [resize])
    streams = {str(output): str(output) for node in made for output in node.outputs}
    reads = {"checkpoint": "checkpoint", "scoring": "params:scoring", "working_directory": "working_directory"}
    score = Node(nodes.score_transferred, reads | streams, "scores", name="score")
    parameters = {name: name for name in ("params:eval_split", "params:dataset")}
    parameters |= {"params:scoring": f"params:{trained}.scoring", "params:source": "params:transfer.source"}
    if part == "temporal":
        parameters["params:tvl1"] = "params:optical_flow.tvl1"
    return Pipeline([*made, score], inputs={"native_frames": "frames"}, parameters=parameters, namespace=namespace)
