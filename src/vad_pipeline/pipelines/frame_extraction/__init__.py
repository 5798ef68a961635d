"""Raw source -> frames, labels, masks, data card."""

from vad_pipeline.pipelines.frame_extraction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
