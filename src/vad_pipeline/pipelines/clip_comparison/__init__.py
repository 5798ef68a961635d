"""Curves and error maps of several models on one clip."""

from vad_pipeline.pipelines.clip_comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
