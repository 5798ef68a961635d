"""Nodes of the frame_extraction pipeline."""

from typing import Any

import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.sources.data_card import clip_table, data_card
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, mask_jobs


def extract_frames(config: FrameExtraction) -> dict[str, ClipJob]:
    """Frames of every clip of the source, uint8 (T, H, W, C), decoded as the store saves them."""
    return frame_jobs(config)


def extract_masks(config: FrameExtraction, frames: Clips) -> dict[str, ClipJob]:
    """Pixel masks, bool (T, H, W), of the clips that have them."""
    return mask_jobs(config, frames)


def extract_labels(config: FrameExtraction, frames: Clips) -> pd.DataFrame:
    """Labels of the test frames: clip, frame, label, kind."""
    return label_table(config, frames)


def describe_clips(frames: Clips, labels: pd.DataFrame, masks: Clips) -> pd.DataFrame:
    """The data card's table: one row per clip."""
    return clip_table(frames, labels, masks)


def describe_data(dataset: str, table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, Any]:
    """The data card: counts, sizes, kinds and the fingerprint of the data."""
    return data_card(dataset, table, labels)
