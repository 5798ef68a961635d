"""What trained systems see in one clip."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.models.systems import SYSTEMS, pictured_part
from vad_pipeline.pipelines.bound import bound
from vad_pipeline.pipelines.clip_comparison import nodes

COMPARED = ("conv3d_ae", "lntra_patch", "lntra_skip_frame", "pseudo_anomaly_detector")


def create_pipeline() -> Pipeline:
    """Figs. 3 and 4 of spatio-temporal pseudo-anomaly generation; the systems' own pipelines run before it."""
    pictured = {name: SYSTEMS[name].namespace(pictured_part(SYSTEMS[name])) for name in COMPARED}
    reads = ["params:clip_comparison.clip", "frames"]
    reads += [f"{name}.scored_frames" for name in COMPARED]
    reads += [f"{part}.{name}" for name in ("maps", "scores") for part in pictured.values()]
    compare = bound(nodes.compare_on_clip, COMPARED)
    return Pipeline([Node(compare, reads, "clip_comparison.curves_and_maps_figure", name="compare_on_clip")])
