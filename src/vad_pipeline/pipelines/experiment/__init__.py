"""A table of experiments."""

from vad_pipeline.pipelines.experiment.pipeline import create_pipeline

__all__ = ["create_pipeline"]
