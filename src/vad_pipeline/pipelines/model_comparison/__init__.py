"""ROC curves and gap scores of several trained systems."""

from vad_pipeline.pipelines.model_comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
