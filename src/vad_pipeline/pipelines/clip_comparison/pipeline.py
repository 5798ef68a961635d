"""What the trained baselines and the pseudo-anomaly detector see in one clip."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.clip_comparison import nodes

# model -> namespace of its error maps and their scores
MODELS = {
    "conv3d_ae": "conv3d_ae",
    "lntra_patch": "lntra_patch",
    "lntra_skip_frame": "lntra_skip_frame",
    "pseudo_anomaly_detector": "pseudo_anomaly_detector.spatial",
}


def create_pipeline() -> Pipeline:
    """Figs. 3 and 4 of spatio-temporal pseudo-anomaly generation; the models' own pipelines run before it."""
    reads = ["params:clip_comparison.clip", "frames"]
    reads += [f"{model}.scored_frames" for model in MODELS]
    reads += [f"{part}.{name}" for name in ("maps", "scores") for part in MODELS.values()]
    return Pipeline(
        [
            Node(
                nodes.compare_node(tuple(MODELS)),
                reads,
                "clip_comparison.curves_and_maps_figure",
                name="compare_on_clip",
            )
        ]
    )
