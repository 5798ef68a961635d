from dataclasses import replace

import pytest
import torch

from tests.training.conftest import SIZE
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError, read_checkpoint, write_checkpoint
from vad_pipeline.models.build import build
from vad_pipeline.models.lgn_net import Config, LGNNet


@pytest.fixture
def checkpoint():
    from dataclasses import asdict

    config = Config(width=0.0625)
    model = LGNNet(config, colours=1)
    return Checkpoint("lgn_net", asdict(config), asdict(SIZE), {"seed": 0, "held_out": []}, model.state_dict())


def test_a_written_checkpoint_reads_back_and_builds_the_model(tmp_path, checkpoint):
    write_checkpoint(checkpoint, tmp_path / "a.safetensors")
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert (read.model, read.config, read.frames, read.about) == (
        checkpoint.model,
        checkpoint.config,
        checkpoint.frames,
        checkpoint.about,
    )
    model = build(read)
    assert not model.training
    torch.testing.assert_close(model.items, checkpoint.state["items"], rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_tuple_in_the_configuration_is_no_other_one_when_read_from_a_file(tmp_path):
    from dataclasses import asdict

    from vad_pipeline.models.conv3d_ae import Config as AEConfig
    from vad_pipeline.models.conv3d_ae import Conv3dAE

    config = AEConfig(width=0.0625, skip_frame={"strides": (2, 3)})
    state = Conv3dAE(config, 1).state_dict()
    write_checkpoint(Checkpoint("conv3d_ae", asdict(config), asdict(SIZE), {}, state), tmp_path / "a.safetensors")
    read = read_checkpoint(tmp_path / "a.safetensors")
    read.check_against(config, SIZE)
    with pytest.raises(CheckpointError, match=r"skip_frame: .*\[2, 3\].* in the checkpoint, .*\[2, 4\]"):
        read.check_against(replace(config, skip_frame={"strides": (2, 4)}), SIZE)


def test_a_truncated_checkpoint_is_named(tmp_path, checkpoint):
    path = tmp_path / "a.safetensors"
    write_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"a.safetensors is damaged .* train the model again"):
        read_checkpoint(path)
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint of this project"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="train the model first"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_a_checkpoint_of_another_configuration_says_what_differs(checkpoint):
    checkpoint.check_against(Config(width=0.0625), SIZE)
    with pytest.raises(
        CheckpointError, match=r"model.items: 10 in the checkpoint, 20 in the parameters.*whole pipeline"
    ):
        checkpoint.check_against(Config(width=0.0625, items=20), SIZE)
    with pytest.raises(CheckpointError, match=r"frames.width: 24 in the checkpoint, 32 in the parameters"):
        checkpoint.check_against(Config(width=0.0625), FrameSize(16, 32, "gray"))


def test_weights_that_do_not_fit_are_refused(checkpoint):
    with pytest.raises(CheckpointError, match="weights do not fit"):
        build(replace(checkpoint, config=checkpoint.config | {"width": 0.125}))
    with pytest.raises(CheckpointError, match="unknown model: no model 'nothing'; there are: alps, conv3d_ae"):
        build(replace(checkpoint, model="nothing"))
