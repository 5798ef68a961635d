"""Rendered pairs -> a trained FlowNet."""

from vad_pipeline.pipelines.flownet_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
