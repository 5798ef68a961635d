"""How the benchmarks measure: two ways in one run, in turns, medians compared; anonymous memory of child processes."""

import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import psutil
import torch


def machine() -> str:
    """One line on the machine and the versions that matter."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{model}, {psutil.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(title: str, plain: Callable[[], object], ours: Callable[[], object], repeats: int = 5) -> float:
    """Time two ways in turns and print the medians; returns how many times faster ours is."""
    times = [(seconds(plain), seconds(ours)) for _ in range(repeats)]
    slow, fast = median(t[0] for t in times), median(t[1] for t in times)
    print(f"{title}: {slow:.3f} s against {fast:.3f} s, {slow / fast:.2f} times (medians of {repeats})", flush=True)
    return slow / fast


@torch.no_grad()
def settle_batch_norm(model: torch.nn.Module) -> None:
    """Statistics of batch norm as after training rather than the identity's."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr,operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]


def peak_anonymous_mib(arguments: Sequence[str]) -> float:
    """Peak of RssAnon + RssShmem, summed over a process and its children, while a command runs."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    errors: list[bytes] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.02)
    reader.join()
    if process.returncode:
        sys.exit(errors[0].decode())
    return peak / 1024


def anonymous(pid: int) -> int:
    """KiB of RssAnon + RssShmem of a process and its children."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith(("RssAnon", "RssShmem")):
                    total += int(line.split()[1])
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        pass
    return total
