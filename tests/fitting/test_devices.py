import pytest
import torch

from vad_pipeline.fitting import devices
from vad_pipeline.fitting.devices import torch_threads


@pytest.mark.parametrize(
    ("threads", "stated", "expected"), [(2, "1", 2), (None, "3", 3), (None, "3,2", 3), (None, "", 4), (1, "", 1)]
)
def test_threads_are_those_asked_for_else_those_of_the_variable_else_all_cores(monkeypatch, threads, stated, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    before = torch.get_num_threads()
    with torch_threads(threads):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("multiplies", "used"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bfloat16_is_not_imitated(monkeypatch, multiplies, used):
    monkeypatch.setattr(devices, "multiplies_bf16", lambda device: multiplies)
    assert devices.usable_precision("bf16-mixed", torch.device("cpu")) == used
    assert devices.usable_precision("32-true", torch.device("cpu")) == "32-true"
