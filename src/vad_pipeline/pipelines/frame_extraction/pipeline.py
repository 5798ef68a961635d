"""Raw source -> frames, labels, masks, data card."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.frame_extraction import nodes


def create_pipeline() -> Pipeline:
    """The frame_extraction pipeline."""
    return Pipeline(
        [
            Node(nodes.extract_frames, "params:frame_extraction", "frames", name="extract_frames"),
            Node(nodes.extract_masks, ["params:frame_extraction", "frames"], "masks", name="extract_masks"),
            Node(nodes.extract_labels, ["params:frame_extraction", "frames"], "labels", name="extract_labels"),
            Node(nodes.describe_clips, ["frames", "labels", "masks"], "clip_table", name="describe_clips"),
            Node(nodes.describe_data, ["params:dataset", "clip_table", "labels"], "data_card", name="describe_data"),
        ]
    )
