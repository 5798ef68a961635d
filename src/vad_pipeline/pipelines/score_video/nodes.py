"""The node of ``score_video``, which the command `kedro score` calls, too."""

from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.events import event_table
from vad_pipeline.detection.reading import reading_of
from vad_pipeline.detection.score_video import Scored, score_video
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.sources.videos import list_videos


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScoreVideo:
    """What is scored by what.

    Attributes:
        models: folder of the trained models of the environment.
        folder: where what is found goes, in a folder for each video.
        video: a file, or a folder of videos.
        model: name of a system, or a folder that holds one.
        version: of the checkpoint; None is the latest.
        false_alarms_per_hour: that normal footage may raise; None takes the lowest rate that the footage held out in
            training supports.
        hold: frames for which scores have to stay above the threshold; None is 1. Of a folder that was handed over None
            takes its rate and hold.
        annotated: write the annotated video.
        accelerator: Lightning's names of devices.
    """

    models: str
    folder: str
    video: str | None = None
    model: str = "scene_exemplars"
    version: str | None = None
    false_alarms_per_hour: float | None = Field(default=None, gt=0)
    hold: int | None = Field(default=None, ge=1)
    annotated: bool = True
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"


def score_new_videos(config: ScoreVideo, extraction: FrameExtraction) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and events of all videos, with a column clip."""
    _, found = detect(config, extraction)
    scores = [each.scores.assign(clip=each.video.stem) for each in found]
    events = [event_table(each.events).assign(clip=each.video.stem) for each in found]
    return pd.concat(scores, ignore_index=True), pd.concat(events, ignore_index=True)


def detect(config: ScoreVideo, extraction: FrameExtraction) -> tuple[Detector, list[Scored]]:
    """Load the system and score the videos.

    Raises:
        ValueError: no video is named, or it is missing.
        CheckpointError, ThresholdError: see ``Detector``.
        SourceError: see ``list_videos`` and ``score_video``; what was found before stays.
    """
    if config.video is None:
        raise ValueError(
            "score_video: no video; say which with --params=video=<file or folder>, or `kedro score <file>`"
        )
    if not Path(config.video).exists():
        raise ValueError(f"{config.video} is missing; name a video, or a folder of videos")
    named = Path(config.model)
    folder = named if named.is_dir() else Path(config.models) / config.model
    options = Scoring(accelerator=config.accelerator).options()
    detector = Detector.load(folder, None, config.version, config.false_alarms_per_hour, config.hold, options)
    reading = detector.reading or reading_of(extraction)
    target = Path(config.folder) / detector.system.name
    found = [
        score_video(detector, video, target / video.stem, reading.height, reading.region, config.annotated)
        for video in list_videos(Path(config.video))
    ]
    return detector, found
