"""Run a trained model over clips: raw terms per frame, error maps per frame."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

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
from vad_pipeline.fitting.checkpoint import state_hash
from vad_pipeline.fitting.devices import device_check, device_of
from vad_pipeline.fitting.windows import leading
from vad_pipeline.models.contract import Detector, ScoringOptions


class ScoringError(ValueError):
    """Clips that cannot be scored."""


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Scoring:
    """How a trained model is run.

    Attributes:
        batch: windows at a time; memory grows with it, results do not change.
        precision: ``bf16`` is faster where the processor is good at it and moves the scores a little.
        accelerator: Lightning's names of devices.
    """

    batch: int = Field(default=8, ge=1)
    precision: Literal["32", "bf16"] = "32"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"

    def options(self) -> ScoringOptions:
        device_check(self.accelerator)
        return ScoringOptions(device_of(self.accelerator), self.precision == "bf16", self.batch)


def scoring_fingerprint(model: Detector, scoring: Scoring) -> str:
    """What scores depend on beside the clips: weights, configuration, precision, code of the model."""
    settings = json.dumps([asdict(model.config), scoring.precision], sort_keys=True)
    return fingerprint(state_hash(model.state_dict()), settings, code_of(type(model)), torch.__version__)


def score_clips(
    model: Detector, streams: Mapping[str, Clips], scoring: Scoring, groups: Sequence[Sequence[str]], folder: Path
) -> tuple[pd.DataFrame, dict[str, ClipJob]]:
    """Score clips in order.

    Args:
        model: trained.
        streams: stream -> clips.
        scoring: how to run it.
        groups: clip ids; each group is scored by a scorer of its own, so that nothing is carried from one to the other.
        folder: where error maps are kept until the clip store takes them over.

    Returns:
        Table clip, frame, one column per raw term; and jobs that hand the error maps (empty where the model has none)
        to the clip store.

    Raises:
        ScoringError: a clip is shorter than the window.
    """
    window = model.window(model.config)
    clips = streams[leading(model.streams)]
    for clip in (clip for group in groups for clip in group):
        if not window.scored(len(clips[clip])):
            raise ScoringError(
                f"clip {clip}: {len(clips[clip])} frames, a window needs {window.length}; remove the clip from the data"
            )
    tables: list[pd.DataFrame] = []
    maps: dict[str, ClipJob] = {}
    running = scoring_fingerprint(model, scoring)
    total = sum(len(window.scored(len(clips[clip]))) for group in groups for clip in group)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"))
    with Progress(*bar, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("scoring", total=total)
        for group in groups:
            scorer = model.scorer(scoring.options())
            before = ""  # what the scorer saw before a clip may change what it says of it
            for clip in group:
                stored = clips[clip]
                arrays = {name: streams[name][clip].array() for name in model.streams}
                # filled in place: small arrays kept from every batch would scatter the heap and make it grow
                n_scored = len(window.scored(len(stored)))
                columns = {"frame": np.empty(n_scored, np.int64)} | {term: np.empty(n_scored) for term in model.terms}

                def rows(
                    arrays: dict[str, np.ndarray] = arrays,
                    scorer: Any = scorer,
                    columns: dict[str, np.ndarray] = columns,
                ) -> Iterator[np.ndarray]:
                    done = 0
                    for batch in scorer.clip(arrays):
                        for name, values in {"frame": batch.frames, **batch.terms}.items():
                            columns[name][done : done + len(values)] = values
                        done += len(batch.frames)
                        progress.advance(task, len(batch.frames))
                        yield from batch.maps if batch.maps is not None else ()

                before = fingerprint(running, before, *(streams[name][clip].fingerprint for name in model.streams))
                path = folder / f"{before}.maps.npy"
                if write_rows(str(path), rows()):
                    maps[clip] = ClipJob(
                        fingerprint=before,
                        file=str(path),
                        fps=stored.fps,
                        source=stored.source,
                    )
                else:
                    path.unlink()
                tables.append(pd.DataFrame({"clip": clip, **columns}))
    table = pd.concat(tables, ignore_index=True)
    return table.astype({"frame": np.int64}), maps
