"""Normal frames and flow -> pseudo-anomalies."""

from vad_pipeline.pipelines.pseudo_anomalies.pipeline import create_pipeline

__all__ = ["create_pipeline"]
