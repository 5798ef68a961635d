"""Models trained on one data set, scored on another (Table 3 of spatio-temporal pseudo-anomaly generation)."""

from vad_pipeline.pipelines.transfer.pipeline import create_pipeline

__all__ = ["create_pipeline"]
