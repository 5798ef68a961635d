"""The pseudo-anomaly detector from frames, flow and pseudo-anomalies to metrics and report."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.models.pseudo_anomaly_detector import PARTS, TERMS
from vad_pipeline.pipelines.detector.nodes import report_node, resize_frames
from vad_pipeline.pipelines.detector.pipeline import train_and_score, trivial_baselines
from vad_pipeline.pipelines.pseudo_anomaly_detector import nodes

NAME = "pseudo_anomaly_detector"
SHARED = {name: name for name in ("params:seed", "params:eval_split")}


def create_pipeline(pseudo: str = "pseudo_anomalies") -> Pipeline:
    """Train and score the three parts in namespaces of their own inside ``pseudo_anomaly_detector``, then fuse them.

    Args:
        pseudo: namespace of the pseudo-anomalies that they train on.
    """
    join = [
        Node(
            nodes.fuse,
            [f"{part}_scores" for part in PARTS],
            "scores",
            name="fuse",
        ),
        Node(
            nodes.evaluate_fusion,
            [
                "scores",
                "labels",
                "trivial_scores",
                "native_frames",
                "spatial_checkpoint",
                "params:seed",
                "params:protocol",
                "params:eval_split",
                "params:dataset",
            ],
            ["metrics", "table", "scored_frames", "parts"],
            name="evaluate",
        ),
        Node(
            report_node(NAME, TERMS),
            [
                "metrics",
                "scored_frames",
                "trivial_scores",
                "labels",
                "spatial_checkpoint",
                "spatial_history",
                "spatial_frames",
                "spatial_maps",
                "params:scoring",
                "params:dataset",
                "params:eval_split",
                "parts",
            ],
            ["regularity_figure", "peaks_figure", "roc_figure", "kinds_figure", "learning_curves_figure", "report"],
            name="report",
        ),
    ]
    of_parts = {f"{part}_scores": f"{NAME}.{part}.scores" for part in PARTS}
    of_parts |= {f"spatial_{name}": f"{NAME}.spatial.{name}" for name in ("checkpoint", "history", "frames", "maps")}
    shared = {name: name for name in ("params:seed", "params:dataset", "params:protocol", "params:eval_split")}
    fused = Pipeline(
        join,
        inputs={"native_frames": "frames", "labels": "labels", "trivial_scores": "trivial_scores", **of_parts},
        parameters={**shared, "params:scoring": f"params:{NAME}.spatial.scoring"},
        namespace=NAME,
    )
    return trivial_baselines() + _spatial(pseudo) + _temporal(pseudo) + _discriminator(pseudo) + fused


def _spatial(pseudo: str) -> Pipeline:
    """The autoencoder of frames."""
    name = f"{NAME}.spatial"
    steps = [
        Node(resize_frames, ["native_frames", "params:frames"], "frames", name="resize_frames"),
        Node(resize_frames, ["pseudo_native", "params:frames"], "pseudo_frames", name="resize_pseudo_frames"),
        *train_and_score(PARTS["spatial"], name, {"frames": "frames"}, "pseudo_frames"),
    ]
    inputs = {"native_frames": "frames", "pseudo_native": f"{pseudo}.spatial"}
    return Pipeline(steps, inputs=inputs, parameters=SHARED, namespace=name)


def _temporal(pseudo: str) -> Pipeline:
    """The autoencoder of flow, at the size that flow is computed at."""
    name = f"{NAME}.temporal"
    steps = train_and_score(PARTS["temporal"], name, {"frames": "frames", "flow": "flow"}, "pseudo_flow")
    inputs = {"frames": "optical_flow.frames", "flow": "flow_tvl1", "pseudo_flow": f"{pseudo}.temporal"}
    parameters = {**SHARED, "params:frames": "params:optical_flow.frames"}
    return Pipeline(steps, inputs=inputs, parameters=parameters, namespace=name)


def _discriminator(pseudo: str) -> Pipeline:
    """The discriminator of features of whole frames at their native size."""
    name = f"{NAME}.discriminator"
    described = ["params:model", "params:scoring"]
    steps = [
        Node(nodes.describe_frames, ["frames", *described], "features", name="describe_frames"),
        Node(nodes.describe_frames, ["pseudo_frames", *described], "pseudo_features", name="describe_pseudo_frames"),
        *train_and_score(PARTS["discriminator"], name, {"features": "features"}, "pseudo_features"),
    ]
    inputs = {"frames": "frames", "pseudo_frames": f"{pseudo}.spatial"}
    parameters = {**SHARED, "params:frames": "params:optical_flow.frames"}
    return Pipeline(steps, inputs=inputs, parameters=parameters, namespace=name)
