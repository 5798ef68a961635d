"""One detector from frames to metrics."""

from vad_pipeline.pipelines.detector.pipeline import create_pipeline

__all__ = ["create_pipeline"]
