"""Frames -> optical flow by TV-L1, FlowNet and DIS, and a report on them."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.optical_flow import nodes


def create_pipeline() -> Pipeline:
    """The optical_flow pipeline; the flows, which others read, lie outside its namespace."""
    steps = [
        Node(nodes.resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames"),
        Node(nodes.estimate_tvl1, ["frames", "params:estimators", "params:tvl1"], "flow_tvl1", name="estimate_tvl1"),
        Node(
            nodes.estimate_flownet,
            ["frames", "params:estimators", "params:flownet"],
            "flow_flownet",
            name="estimate_flownet",
        ),
        Node(nodes.estimate_dis, ["frames", "params:estimators", "params:dis"], "flow_dis", name="estimate_dis"),
        Node(
            nodes.report_flow,
            ["params:dataset", "frames", "flow_tvl1", "flow_flownet", "flow_dis"],
            ["metrics", "examples_figure", "magnitudes_figure", "disagreement_figure", "report"],
            name="report",
        ),
    ]
    return Pipeline(
        steps,
        inputs={"native_frames": "frames"},
        outputs={name: name for name in ("flow_tvl1", "flow_flownet", "flow_dis")},
        parameters={"params:dataset"},
        namespace="optical_flow",
    )
