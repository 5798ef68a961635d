"""AUC against what is chosen after training: LGN-Net's gamma and lambda."""

from vad_pipeline.pipelines.sweeps.pipeline import create_pipeline

__all__ = ["create_pipeline"]
