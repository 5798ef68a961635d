"""Images of ten classes, of which each in turn is the normal one: a namespace per mode and class, then the tables."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.experiments.image_anomalies import CLASSES, NAME, ROWS, ClassRow
from vad_pipeline.pipelines.bound import bound
from vad_pipeline.pipelines.detector.nodes import resize_frames
from vad_pipeline.pipelines.detector.pipeline import in_namespace
from vad_pipeline.pipelines.frame_extraction.nodes import extract_frames
from vad_pipeline.pipelines.image_anomalies import nodes


def create_pipeline() -> Pipeline:
    """Everything from raw images to the tables and figures."""
    images = [
        Node(extract_frames, f"params:{NAME}.images", f"{NAME}.images", name="extract_images"),
        Node(resize_frames, [f"{NAME}.images", f"params:{NAME}.frames"], f"{NAME}.frames", name="resize_images"),
        Node(nodes.score_trivial_baselines, f"{NAME}.frames", f"{NAME}.trivial_scores", name="score_trivial_images"),
    ]
    rows = sum((_row_pipeline(row) for row in ROWS), Pipeline([]))
    metrics = [f"{row.namespace}.metrics" for row in ROWS]
    shown = [ClassRow("alps", normal) for normal in CLASSES]
    found = [f"{row.namespace}.scores" for row in shown] + [f"{row.namespace}.examples" for row in shown]
    ends = [
        Node(
            nodes.tabulate_classes,
            ["params:dataset", "params:protocol", f"{NAME}.frames", f"{NAME}.trivial_scores", *metrics],
            [f"{NAME}.table", f"{NAME}.metrics"],
            name="tabulate_classes",
        ),
        Node(
            nodes.report_classes,
            [
                f"{NAME}.table",
                "params:dataset",
                f"params:{NAME}.images",
                f"params:{NAME}.budget",
                f"{NAME}.frames",
                *found,
            ],
            [f"{NAME}.reconstructions_figure", f"{NAME}.distributions_figure", f"{NAME}.report"],
            name="report_classes",
        ),
    ]
    return Pipeline(images) + rows + Pipeline(ends)


def _row_pipeline(row: ClassRow) -> Pipeline:
    """One mode and class, from images to metrics."""
    reads = {
        "images": "images",
        "config": "params:model",
        "size": "params:frames",
        "scoring": "params:scoring",
        "budget": "params:budget",
        "working_directory": "working_directory",
        "dataset": "params:dataset",
        "protocol": "params:protocol",
    }
    outside = {"images": f"{NAME}.frames", "working_directory": f"{NAME}.working_directory"}
    outside |= {f"params:{name}": f"params:{NAME}.{name}" for name in ("model", "frames", "scoring", "budget")}
    if row.mode == "noise":
        reads["alps_metrics"] = "alps_metrics"
        outside["alps_metrics"] = f"{ClassRow('alps', row.normal).namespace}.metrics"
    run = bound(nodes.run_class, row.mode, row.normal)
    steps = [Node(run, reads, ["scores", "metrics", "examples"], name="run_class")]
    return in_namespace(steps, row.namespace, outside)
