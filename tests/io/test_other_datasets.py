from pathlib import Path

import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.io.checkpoint_dataset import CheckpointDataset
from vad_pipeline.io.working_directory import WorkingDirectoryDataset
from vad_pipeline.models.lgn_net import Config, LGNNet


def dataset(folder, save=None):
    return CheckpointDataset(filepath=str(folder / "checkpoint.safetensors"), version=Version(None, save))


def checkpoint(seed):
    from dataclasses import asdict

    config = Config(width=0.0625)
    frames = {"height": 16, "width": 24, "colour": "gray"}
    state = LGNNet(config, colours=1).state_dict()
    return Checkpoint("lgn_net", asdict(config), frames, {"seed": seed, "held_out": []}, state)


def test_checkpoints_are_versioned_and_the_newest_is_loaded(tmp_path):
    assert not dataset(tmp_path).exists()
    for seed in (1, 2):
        dataset(tmp_path, f"v{seed}").save(checkpoint(seed))
    assert dataset(tmp_path).exists()
    assert dataset(tmp_path).load().about["seed"] == 2
    old = CheckpointDataset(filepath=str(tmp_path / "checkpoint.safetensors"), version=Version("v1", None))
    assert old.load().about["seed"] == 1
    assert '"model": "lgn_net"' in dataset(tmp_path).preview()


def test_a_damaged_checkpoint_is_named_with_the_remedy(tmp_path):
    dataset(tmp_path, "v1").save(checkpoint(1))
    path = next(tmp_path.rglob("v1/checkpoint.safetensors"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"v1/checkpoint.safetensors is damaged .* train the model again"):
        dataset(tmp_path).load()


def test_a_working_directory_is_made_when_it_is_loaded_and_takes_no_data(tmp_path):
    working = WorkingDirectoryDataset(filepath=str(tmp_path / "a" / "b"))
    assert working.exists()
    assert working.load() == Path(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(DatasetError, match="steps write into it themselves"):
        working.save("something")


def test_a_remote_working_directory_is_refused():
    with pytest.raises(DatasetError, match="lies on a local disk"):
        WorkingDirectoryDataset(filepath="s3://bucket/work")
