"""LGN-Net scored with several thresholds of its memory's gate at once (LGN-Net Fig. 9).

What a window is encoded to depends on no threshold, so it is computed once; only the memory's answer, its decoding and
the update follow the threshold, frame by frame. Thresholds between which no frame's regular score has fallen so far
have the same memory, and share even that; the others are decoded as one batch.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed
from torch import Tensor

from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.models.layers.memory import MovingMemory, nearest_distance
from vad_pipeline.models.lgn_net import LGNNet
from vad_pipeline.models.memory_model import Encoded, MemoryScorer
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
    """Thresholds, ascending, whose memory is the same so far; its gate is the last of them."""

    memory: MovingMemory
    gammas: list[float]


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

    Raises:
        SweepError: the variant has no memory.
    """
    if not model.network.memory_channels:
        raise SweepError("lgn_net_sweeps: this variant of LGN-Net has no memory, so nothing depends on gamma")
    scorer = model.scorer(scoring.options())
    begun = [_Branch(_gated(scorer.memory, max(gammas)), sorted(set(gammas)))]
    branches = begun
    found: dict[float, list[pd.DataFrame]] = {gamma: [] for gamma in gammas}
    with torch_threads(scoring.threads), torch.inference_mode():
        for clip, arrays in clips.items():
            if model.config.memory_reset == "per_clip":  # all have the same memory again
                branches = begun
            for encoded, complete in scorer.encodings(arrays):
                terms: dict[float, list[dict[str, Tensor]]] = {gamma: [] for gamma in gammas}
                for i in range(len(complete.frames)):
                    branches = _one_frame(scorer, branches, encoded.one(i), terms)
                for gamma, values in terms.items():
                    columns = {term: torch.cat([v[term] for v in values]).double().cpu().numpy() for term in values[0]}
                    found[gamma].append(pd.DataFrame({"clip": clip, "frame": complete.frames, **columns}))
    return {gamma: pd.concat(tables, ignore_index=True) for gamma, tables in found.items()}


def _gated(memory: MovingMemory, gamma: float) -> MovingMemory:
    """A memory that goes its own way from here on; updates make new items."""
    other = copy(memory)
    other.gamma = gamma
    return other


def _one_frame(
    scorer: MemoryScorer, branches: Sequence[_Branch], one: Encoded, terms: Mapping[float, list[dict[str, Tensor]]]
) -> list[_Branch]:
    """Score a frame with the memories of all branches, decoded as one batch, and let them move.

    A branch of which some thresholds update the memory and some do not becomes two.
    """
    assert one.features is not None
    temperature = scorer.config.temperature
    answered = [
        scorer.network.answer(one.features, branch.memory.items, temperature=temperature) for branch in branches
    ]
    answers, queries = torch.cat([answer for answer, _ in answered]), answered[0][1]
    past = [part.expand(len(branches), *part.shape[1:]) for part in one.past]
    expected = scorer.network.decode(answers.to(scorer.options.dtype), *past).float()
    measured, _ = scorer.measure(expected, one.targets.expand_as(expected))
    after = []
    for k, branch in enumerate(branches):
        distance = nearest_distance(queries, branch.memory.items, scorer.config.distance).mean()
        values = {name: term[k : k + 1] for name, term in measured.items()} | {"memory_distance": distance[None]}
        for gamma in branch.gammas:
            terms[gamma].append(values)
        regular = float(values["regular_score"])
        still = [gamma for gamma in branch.gammas if not regular < gamma]
        moved = [gamma for gamma in branch.gammas if regular < gamma]
        if still:
            after.append(_Branch(_gated(branch.memory, still[-1]), still))
        if moved:
            memory = _gated(branch.memory, moved[-1])
            memory.observe(queries, regular)
            after.append(_Branch(memory, moved))
    return after
