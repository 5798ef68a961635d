"""New videos scored by a system that was trained before."""

from vad_pipeline.pipelines.score_video.pipeline import create_pipeline

__all__ = ["create_pipeline"]
