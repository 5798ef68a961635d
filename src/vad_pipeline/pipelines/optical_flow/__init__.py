"""Frames -> optical flow by TV-L1, FlowNet and DIS, and a report on them."""

from vad_pipeline.pipelines.optical_flow.pipeline import create_pipeline

__all__ = ["create_pipeline"]
