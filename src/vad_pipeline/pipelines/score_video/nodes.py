"""The nodes of ``score_video``; the command `kedro score` calls what they do, too."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.events import event_table
from vad_pipeline.detection.reading import reading_of
from vad_pipeline.detection.score_video import Scored, score_video
from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.report.video_report import write_video_report
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.sources.raw_clip import SourceError
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
        threads: that the models compute with on a CPU, beside those that decode and encode; None takes all cores (or
            OMP_NUM_THREADS).
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
    threads: int | None = Field(default=None, ge=1)


@dataclasses.dataclass(frozen=True)
class Detected:
    """What was found in videos.

    Attributes:
        detector: that was loaded.
        found: of each video that was scored.
        failed: why the others were not, or not whole, a sentence each.
    """

    detector: Detector
    found: list[Scored]
    failed: list[str]


def score_new_videos(config: ScoreVideo, extraction: FrameExtraction) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Scores and events of all videos, with a column clip; and why some were not scored, or not whole.

    Raises:
        SourceError: none was scored.
    """
    detected = detect(config, extraction)
    if not detected.found:
        name_failed(detected.failed)
    scores = [each.scores.assign(clip=each.video.stem) for each in detected.found]
    events = [event_table(each.events).assign(clip=each.video.stem) for each in detected.found]
    return pd.concat(scores, ignore_index=True), pd.concat(events, ignore_index=True), detected.failed


def name_failed(failed: Sequence[str]) -> None:
    """End a run by saying what was not scored, after what was is saved.

    Raises:
        SourceError: something was not.
    """
    if failed:
        several = f"{len(failed)} videos were not scored, or not whole: " if len(failed) > 1 else ""
        raise SourceError(several + "; ".join(failed))


def detect(config: ScoreVideo, extraction: FrameExtraction) -> Detected:
    """Load the system and score the videos.

    Raises:
        ValueError: no video is named, or it is missing.
        CheckpointError, ThresholdError: see ``Detector``.
        SourceError: see ``list_videos``.
    """
    if config.video is None:
        raise ValueError(
            "score_video: no video; say which with --params=video=<file or folder>, or `kedro score <file>`"
        )
    if not Path(config.video).exists():
        raise ValueError(f"{config.video} is missing; name a video, or a folder of videos")
    videos = list_videos(Path(config.video))
    named = Path(config.model)
    folder = named if named.is_dir() else Path(config.models) / config.model
    options = Scoring(accelerator=config.accelerator).options()
    found, failed = [], []
    with torch_threads(config.threads):
        detector = Detector.load(folder, None, config.version, config.false_alarms_per_hour, config.hold, options)
        reading = detector.reading or reading_of(extraction)
        target = Path(config.folder) / detector.system.name
        report = partial(write_video_report, detector=detector, region=reading.region)
        for video in videos:
            own = target / video.stem
            try:
                scored = score_video(detector, video, own, reading.height, reading.region, config.annotated, report)
            except (SourceError, OSError) as error:
                failed.append(str(error) if isinstance(error, SourceError) else f"{error.filename}: {error.strerror}")
                continue
            found.append(scored)
            failed += [scored.missing] if scored.missing else []
    return Detected(detector, found, failed)
