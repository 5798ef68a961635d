"""Fitting of what has no gradients: one pass over the training clips, resumable at a clip's end."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from vad_pipeline.fitting.fit import HISTORY_COLUMNS, RESUME, Fitted, read_resumable

Arrays = Mapping[str, np.ndarray]
Learn = Callable[[Arrays], Mapping[str, Any] | None]


def fit_in_one_pass(
    name: str,
    module: torch.nn.Module,
    learn: Learn,
    clips: Mapping[str, Callable[[], Arrays]],
    seed: int,
    folder: Path,
    keep_every: float = 20.0,
) -> Fitted:
    """Show a module every clip once, from the start or from where an interrupted pass got to.

    Args:
        name: for the progress bar.
        module: what it learns lies in its parameters and buffers, whose shapes may change.
        learn: takes in one clip; returns what to note in the history, where the clip's number stands for the epoch.
        clips: clip -> opens its streams.
        seed: the random numbers of a clip follow from it and the clip's number.
        folder: keeps the state; the caller deletes ``RESUME`` when the result is safe.
        keep_every: seconds of work that an interruption may cost.

    Raises:
        CheckpointError: what an interrupted pass left is damaged.
    """
    path = folder / RESUME
    state = read_resumable(path)
    done, rows, seconds = 0, [], 0.0
    if state is not None:
        done, rows, seconds = state["done"], state["rows"], state["seconds"]
        take_state(module, state["state_dict"])
    start = kept = time.monotonic()
    names = list(clips)
    for number in track(range(done, len(names)), description=f"{name}: clips", total=len(names) - done):
        random = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
        torch.manual_seed(int(random[0]) % 2**63)
        noted = learn(clips[names[number]]()) or {}
        rows += [[number, key, float(value)] for key, value in noted.items()]
        if time.monotonic() - kept >= keep_every or number == len(names) - 1:
            kept = time.monotonic()
            saved = {
                "state_dict": module.state_dict(),
                "done": number + 1,
                "rows": rows,
                "seconds": seconds + kept - start,
            }
            temporary = path.with_suffix(".partial")
            torch.save(saved, temporary)
            temporary.replace(path)
    seconds += time.monotonic() - start
    return Fitted(module.state_dict(), pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)), seconds)


def take_state(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load a state whose buffers may have other shapes than the module's; they stay on the module's device."""
    for name, buffer in module.named_buffers():
        if name in state and state[name].shape != buffer.shape:
            owner = module.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], torch.empty_like(state[name], device=buffer.device))
    module.load_state_dict(dict(state))
