"""Normal frames and flow -> masks -> spatial and temporal pseudo-anomalies, and a gallery of them."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.pseudo_anomalies import nodes


def create_pipeline(namespace: str = "pseudo_anomalies", inpainter: str = "") -> Pipeline:
    """The pseudo_anomalies pipeline; other namespaces make other sets, each with parameters of its own.

    Args:
        namespace: of the set.
        inpainter: namespace whose fitted inpainter fills the holes; empty to fit one for this set.
    """
    inputs = {"frames": "frames", "flow_tvl1": "flow_tvl1"}
    steps = [
        Node(nodes.find_objects, ["frames", "params:masks"], "objects", name="find_objects"),
        Node(
            nodes.choose_holes, ["objects", "params:masks", "params:pool", "params:seed"], "holes", name="choose_holes"
        ),
        Node(
            nodes.inpaint,
            ["frames", "holes", "checkpoint", "params:inpainting", "params:seed"],
            "spatial",
            name="inpaint",
        ),
        Node(nodes.mix_flow, ["flow_tvl1", "holes", "params:mixup", "params:seed"], "temporal", name="mix_flow"),
        Node(
            nodes.tabulate,
            ["frames", "objects", "holes", "spatial", "temporal", "checkpoint", "params:masks", "params:seed"],
            ["table", "metrics"],
            name="tabulate",
        ),
        Node(
            nodes.report,
            [
                "params:dataset",
                "frames",
                "holes",
                "spatial",
                "flow_tvl1",
                "temporal",
                "table",
                "metrics",
                "checkpoint",
                "history",
                "params:inpainting",
            ],
            ["gallery_figure", "learning_curves_figure", "report"],
            name="report",
        ),
    ]
    if inpainter:
        inputs |= {name: f"{inpainter}.{name}" for name in ("checkpoint", "history")}
    else:
        reads = ["frames", "objects", "params:model", "params:masks", "params:inpainting", "params:training"]
        reads += ["params:seed", "working_directory"]
        steps += [Node(nodes.fit_node(namespace), reads, ["checkpoint", "history"], name="fit_inpainter")]
    return Pipeline(
        steps,
        inputs=inputs,
        parameters={"params:seed", "params:dataset"},
        namespace=namespace,
    )
