"""Devices by Lightning's names, and how many threads compute."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Literal

import cv2
import torch

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


def device_of(accelerator: str) -> torch.device:
    """The torch device that a Lightning accelerator stands for."""
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    if accelerator == "mps":
        return torch.device("mps")
    return torch.device("cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself, so that computing in it is worth while."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()


def usable_precision(precision: Precision, device: torch.device) -> Precision:
    """Lightning's precision of a training.

    ``bf16-mixed`` becomes ``32-true`` where a processor would have to imitate bfloat16, which takes many times as long;
    the log says so.
    """
    if precision != "bf16-mixed" or multiplies_bf16(device):
        return precision
    logging.getLogger(__name__).info(
        "training.precision: %s, but this %s does not multiply in bfloat16 by itself; training in 32-true, which is "
        "faster here",
        precision,
        device.type,
    )
    return "32-true"


def device_check(accelerator: str) -> None:
    """Make sure that the device is there.

    Raises:
        TrainingError: it is not.
    """
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise TrainingError(
            f"accelerator: {accelerator} is asked for, but torch {torch.__version__} sees no CUDA device; install the "
            "CUDA build of torch (see README) or set accelerator: cpu"
        )
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise TrainingError("accelerator: mps is asked for, but this is no Apple GPU; set accelerator: cpu")


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """So many threads for torch and OpenCV inside.

    None takes what the environment variable OMP_NUM_THREADS says, else every core that this process may use.
    """
    before = torch.get_num_threads(), cv2.getNumThreads()
    count = threads or _stated_threads() or _cores()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _stated_threads() -> int:
    """OMP_NUM_THREADS, of which nested parallelism has further numbers after commas; 0 where there is none."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(stated) if stated.isdecimal() else 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
