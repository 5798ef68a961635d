"""The pseudo-anomaly detector: three parts, trained apart, fused."""

from vad_pipeline.pipelines.pseudo_anomaly_detector.pipeline import create_pipeline

__all__ = ["create_pipeline"]
