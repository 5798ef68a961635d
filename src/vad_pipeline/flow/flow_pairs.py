"""Rendered flow pairs as torch datasets: training draws new ones every epoch, measuring always the same."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad_pipeline.fitting.loaders import EpochSampler
from vad_pipeline.flow.rendered_pairs import HELD_OUT, RenderedPairs, render_pair


class RenderedPairDataset(Dataset):
    """Pairs rendered when asked for, each a function of (config, seed, number) alone.

    An item is ``earlier`` and ``later``, uint8 (H, W, 3), and ``flow``, float32 (H, W, 2) in pixels. Any number from 0
    on is an item: the sampler gives every epoch numbers of its own, which reach worker processes as they are.

    Args:
        config: what pairs look like.
        seed: of the textures and of all pairs.
        size: pairs in an epoch.
        textures: frames that surfaces are cut from, see ``render_pair``.
        first: number of the pair that item 0 is.
    """

    def __init__(
        self,
        config: RenderedPairs,
        seed: int,
        size: int,
        textures: Sequence[np.ndarray] | None = None,
        first: int = 0,
    ):
        self.config, self.seed, self.size, self.textures, self.first = config, seed, size, textures, first

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        pair = render_pair(self.config, self.seed, self.first + index, self.textures)
        return {name: torch.from_numpy(getattr(pair, name)) for name in ("earlier", "later", "flow")}


def flow_pair_loader(
    config: RenderedPairs,
    seed: int,
    pairs: int,
    batch_size: int,
    textures: Sequence[np.ndarray] | None = None,
    workers: int = 1,
) -> DataLoader:
    """Batches of pairs to train on, new ones every epoch; a last, smaller batch is dropped, unless it is the only one.

    Args:
        config: what pairs look like.
        seed: of the textures and of all pairs.
        pairs: in an epoch.
        batch_size: pairs in a batch.
        textures: frames that surfaces are cut from, see ``render_pair``.
        workers: processes that render ahead; how many does not change what is drawn. 0 renders in this one.
    """
    # Workers leave OpenCV's threads as they are: setting them after a fork waits for threads that did not come along.
    return DataLoader(
        RenderedPairDataset(config, seed, pairs, textures),
        batch_size=batch_size,
        sampler=EpochSampler(pairs),
        drop_last=pairs >= batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def held_out_loader(
    config: RenderedPairs,
    seed: int,
    pairs: int,
    batch_size: int,
    textures: Sequence[np.ndarray] | None = None,
) -> DataLoader:
    """Batches of the same pairs every time, none of which ``flow_pair_loader`` draws; rendered in this process.

    Their procedural patterns are in no training pair either. Given ``textures`` serve both.
    """
    return DataLoader(RenderedPairDataset(config, seed, pairs, textures, first=HELD_OUT), batch_size=batch_size)
