"""A trained system and any video: scores, events with pictures, an annotated video; nothing is trained or rescored."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.score_video import nodes


def create_pipeline() -> Pipeline:
    """From a video and a system's checkpoints to the tables; the files for people lie in a folder for each video."""
    reads = ["params:score_video", "params:frame_extraction"]
    made = ["score_video.scores", "score_video.events", "score_video.failed"]
    return Pipeline(
        [
            Node(nodes.score_new_videos, reads, made, name="score_videos"),
            Node(nodes.name_failed, "score_video.failed", None, name="name_failed_videos"),
        ]
    )
