"""Each class of images in turn as normal, all others as anomalies."""

from vad_pipeline.pipelines.image_anomalies.pipeline import create_pipeline

__all__ = ["create_pipeline"]
