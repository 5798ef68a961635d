"""Frames -> optical flow by TV-L1 and FlowNet, and a report on both."""

from vad_pipeline.pipelines.optical_flow.pipeline import create_pipeline

__all__ = ["create_pipeline"]
