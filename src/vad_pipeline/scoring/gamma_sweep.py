"""LGN-Net scored with several thresholds of its memory's gate at once (LGN-Net Fig. 9).

What a window is encoded to depends on no threshold, so it is computed once; only the memory's answer, its decoding and
the update follow the threshold, frame by frame. Thresholds between which no frame's regular score has fallen so far
have the same memory, and share even that.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.models.lgn_net import LGNNet
from vad_pipeline.models.memory_model import Encoded, MemoryScorer
from vad_pipeline.models.scorer import Complete
from vad_pipeline.scoring.score import Scoring

MULTIPLES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


class SweepError(ValueError):
    """A model that cannot be swept as it is asked for."""


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Sweeps:
    """What is varied after training.

    Attributes:
        weights: how many weights of PSNR (lambda), evenly spread over [0, 1].
        gammas: thresholds of the memory's gate; null takes ten from 0 to twice the trained model's.
    """

    weights: int = Field(default=11, ge=2)
    gammas: tuple[float, ...] | None = None

    def thresholds(self, trained: float) -> tuple[float, ...]:
        """The gammas to try, ascending, the trained model's among them.

        Raises:
            SweepError: they are to be multiples of a gamma that is 0, or one is negative.
        """
        if self.gammas is None and not trained:
            raise SweepError(
                "lgn_net_sweeps.gammas: the trained model's gamma is 0, which has no multiples; name the values to try"
            )
        gammas = [trained * multiple for multiple in MULTIPLES] if self.gammas is None else [*self.gammas, trained]
        if min(gammas) < 0:
            raise SweepError(f"lgn_net_sweeps.gammas: {min(gammas)} is negative; 0 switches the update off")
        return tuple(sorted(set(gammas)))


@dataclass
class _Branch:
    """Thresholds whose memory is the same so far; the scorer's own is the largest of them."""

    scorer: MemoryScorer
    gammas: list[float]  # ascending


def gamma_sweep(
    model: LGNNet, clips: Mapping[str, Mapping[str, np.ndarray]], gammas: Sequence[float], scoring: Scoring
) -> dict[float, pd.DataFrame]:
    """Score clips in order with every threshold.

    Args:
        model: trained.
        clips: clip -> stream -> rows; the memory goes on from one to the next, unless the model resets it.
        gammas: thresholds; 0 never updates the memory.
        scoring: how to run it.

    Returns:
        Threshold -> table clip, frame, one column per raw term: what ``score_clips`` gives with that threshold.
    """
    encoder = model.scorer(scoring.options())
    branches = [_Branch(_forked(encoder, max(gammas)), sorted(set(gammas)))]
    found: dict[float, list[pd.DataFrame]] = {gamma: [] for gamma in gammas}
    with torch_threads(scoring.threads), torch.inference_mode():
        for clip, arrays in clips.items():
            if model.config.memory_reset == "per_clip":  # all have the same memory again
                branches = [_Branch(_forked(encoder, max(gammas)), sorted(set(gammas)))]
            for branch in branches:
                branch.scorer.begin()
            for encoded, complete in encoder.encodings(arrays):
                branches, terms = _scored(branches, encoded, complete)
                for gamma, columns in terms.items():
                    found[gamma].append(pd.DataFrame({"clip": clip, "frame": complete.frames, **columns}))
    return {gamma: pd.concat(tables, ignore_index=True) for gamma, tables in found.items()}


def _forked(scorer: MemoryScorer, gamma: float) -> MemoryScorer:
    """A scorer that shares the network and has a memory of its own, from here on; updates make new items."""
    other = copy(scorer)
    other.memory = copy(scorer.memory)
    other.memory.gamma = gamma
    return other


def _scored(
    branches: Sequence[_Branch], encoded: Encoded, complete: Complete
) -> tuple[list[_Branch], dict[float, dict[str, np.ndarray]]]:
    """The branches after a batch of windows, and threshold -> term -> (n,)."""
    terms: dict[float, list[dict[str, Any]]] = {}
    after: list[_Branch] = []
    for branch in branches:
        if branch.gammas == [0.0]:  # nothing to wait for: all at once
            values, _ = branch.scorer.score(encoded, complete)
            terms[0.0] = [values]
            after.append(branch)
            continue
        grown = [branch]
        for i in range(len(complete.frames)):
            grown = [kept for one in grown for kept in _one_frame(one, encoded, complete, i, terms)]
        after += grown
    joined = {
        gamma: {name: torch.cat([v[name] for v in values]).double().cpu().numpy() for name in values[0]}
        for gamma, values in terms.items()
    }
    return after, joined


def _one_frame(
    branch: _Branch, encoded: Encoded, complete: Complete, i: int, terms: dict[float, list[dict[str, Any]]]
) -> list[_Branch]:
    """Score frame i of a batch; a branch of which some thresholds update the memory and some do not becomes two."""
    alone = Complete(
        complete.starts[i : i + 1], complete.frames[i : i + 1], np.zeros(1, int), complete.position[i : i + 1]
    )
    before = _forked(branch.scorer, branch.scorer.memory.gamma)
    values, _ = branch.scorer.score(encoded.one(i), alone)
    for gamma in branch.gammas:
        terms.setdefault(gamma, []).append(values)
    regular = float(values["regular_score"])
    still = [gamma for gamma in branch.gammas if not regular < gamma]
    moved = [gamma for gamma in branch.gammas if regular < gamma]
    if not still or not moved:
        return [branch]
    return [_Branch(_forked(before, still[-1]), still), _Branch(branch.scorer, moved)]
