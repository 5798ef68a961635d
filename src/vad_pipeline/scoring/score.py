"""Run a trained model over clips: raw terms per frame, error maps per frame; finished scores are found again."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.code import code_of
from vad_pipeline.clips.fingerprint import fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import write_rows
from vad_pipeline.clips.window import frames_of
from vad_pipeline.fitting.checkpoint import state_hash
from vad_pipeline.fitting.devices import device_check, device_of, torch_threads
from vad_pipeline.models.contract import Model
from vad_pipeline.models.scorer import Scorer, ScoringOptions


class ScoringError(ValueError):
    """Clips that cannot be scored."""


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Scoring:
    """How a trained model is run.

    Attributes:
        batch: windows at a time; memory grows with it, results do not change.
        precision: ``bf16`` is faster where the processor is good at it and moves the scores a little.
        accelerator: Lightning's names of devices.
        threads: that torch computes with on a CPU; null takes all cores (or OMP_NUM_THREADS).
    """

    batch: int = Field(default=8, ge=1)
    precision: Literal["32", "bf16"] = "32"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(default=None, ge=1)

    def options(self) -> ScoringOptions:
        device_check(self.accelerator)
        return ScoringOptions(device_of(self.accelerator), self.precision == "bf16", self.batch)


def scoring_fingerprint(model: Model, scoring: Scoring) -> str:
    """What scores depend on beside the clips: weights, configuration, precision, the code of the model."""
    config = {k: v for k, v in asdict(model.config).items() if k not in model.fusing_only}
    settings = json.dumps([config, scoring.precision], sort_keys=True)
    return fingerprint(
        state_hash(model.state_dict()), settings, code_of(sys.modules[type(model).__module__]), torch.__version__
    )


def score_clips(
    model: Model,
    streams: Mapping[str, Clips],
    scoring: Scoring,
    groups: Sequence[Sequence[str]],
    folder: Path,
    maps: bool = True,
) -> tuple[pd.DataFrame, dict[str, ClipJob]]:
    """Score clips in order, or take the scores where that was done before.

    Args:
        model: trained.
        streams: stream -> clips.
        scoring: how to run it.
        groups: clip ids; each group is scored by a scorer of its own, so that nothing is carried from one to the other.
        folder: working directory; finished scores stay there, error maps until the clip store takes them over.
        maps: whether error maps are wanted.

    Returns:
        Table clip, frame, one column per raw term; and jobs that hand the error maps (empty where the model has none or
        none are wanted) to the clip store.

    Raises:
        ScoringError: a clip is shorter than the window.
    """
    streams = {stream: streams[stream] for stream in model.streams(model.config)}
    _check_lengths(model, streams, groups)
    running = scoring_fingerprint(model, scoring)
    tables: list[pd.DataFrame] = []
    jobs: dict[str, ClipJob] = {}
    for group in groups:
        prints = _clip_fingerprints(running, streams, group)
        finished = folder / f"scores_{fingerprint(*prints.values())}.parquet"
        score = partial(_score_group, model, streams, scoring, prints, folder, finished)
        if not finished.exists():
            score(maps)
        tables.append(pd.read_parquet(finished))
        if maps and model.has_maps:
            jobs |= _map_jobs(streams, prints, folder, partial(score, True))
    return pd.concat(tables, ignore_index=True).astype({"frame": np.int64}), jobs


def _check_lengths(model: Model, streams: Mapping[str, Clips], groups: Sequence[Sequence[str]]) -> None:
    window = model.window(model.config)
    for clip in (clip for group in groups for clip in group):
        n_frames = _frames(streams, clip)
        if not window.scored(n_frames):
            raise ScoringError(
                f"clip {clip}: {n_frames} frames, a window needs {window.length}; remove the clip from the data"
            )


def _frames(streams: Mapping[str, Clips], clip: str) -> int:
    return frames_of({stream: len(clips[clip]) for stream, clips in streams.items()})


def _clip_fingerprints(running: str, streams: Mapping[str, Clips], group: Sequence[str]) -> dict[str, str]:
    """Clip -> fingerprint of its scores: what the scorer saw before a clip may change what it says of it."""
    prints, before = {}, ""
    for clip in group:
        before = fingerprint(running, before, *(clips[clip].fingerprint for clips in streams.values()))
        prints[clip] = before
    return prints


def _map_jobs(
    streams: Mapping[str, Clips], prints: Mapping[str, str], folder: Path, again: partial[None]
) -> dict[str, ClipJob]:
    """Jobs that hand files of error maps over; where one is gone and the store lacks it, the group is scored again."""
    leading = next(iter(streams.values()))
    return {
        clip: ClipJob(
            fingerprint=own,
            file=str(_maps_file(folder, own)),
            again=again,
            fps=leading[clip].fps,
            source=leading[clip].source,
        )
        for clip, own in prints.items()
    }


def _maps_file(folder: Path, own: str) -> Path:
    return folder / f"{own}.maps.npy"


def _score_group(
    model: Model,
    streams: Mapping[str, Clips],
    scoring: Scoring,
    prints: Mapping[str, str],
    folder: Path,
    finished: Path,
    maps: bool,
) -> None:
    """Score the clips of a group in order; leaves ``finished`` and, where wanted, a file of error maps for each."""
    window = model.window(model.config)
    total = sum(len(window.scored(_frames(streams, clip))) for clip in prints)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"))
    tables = []
    with (
        torch_threads(scoring.threads),
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task(f"scoring {next(iter(prints)).partition('/')[0]} clips", total=total)
        scorer = model.scorer(scoring.options())
        for clip, own in prints.items():
            arrays = {stream: clips[clip].array() for stream, clips in streams.items()}
            # filled in place: small arrays kept from every batch would scatter the heap and make it grow
            n_scored = len(window.scored(_frames(streams, clip)))
            table = {"frame": np.empty(n_scored, np.int64)} | {term: np.empty(n_scored) for term in model.terms}
            rows = _scored_rows(scorer, arrays, table, partial(progress.advance, task))
            if maps and model.has_maps:
                file = _maps_file(folder, own)
                temporary = file.with_suffix(f".{os.getpid()}.partial")
                write_rows(str(temporary), rows)
                temporary.replace(file)
            else:
                for _ in rows:
                    pass
            tables.append(pd.DataFrame({"clip": clip, **table}))
    temporary = finished.with_suffix(f".{os.getpid()}.partial")
    pd.concat(tables, ignore_index=True).to_parquet(temporary, index=False)
    temporary.replace(finished)


def _scored_rows(
    scorer: Scorer, arrays: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], advance: partial[None]
) -> Iterator[np.ndarray]:
    """Fill the columns with the scores of a clip; yields its error maps, one by one."""
    done = 0
    for batch in scorer.clip(arrays):
        for name, values in {"frame": batch.frames, **batch.terms}.items():
            columns[name][done : done + len(values)] = values
        done += len(batch.frames)
        advance(len(batch.frames))
        yield from batch.maps if batch.maps is not None else ()
