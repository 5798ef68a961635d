"""Devices by Lightning's names."""

import torch


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
