"""Milliseconds per test frame of several systems."""

from vad_pipeline.pipelines.run_time.pipeline import create_pipeline

__all__ = ["create_pipeline"]
