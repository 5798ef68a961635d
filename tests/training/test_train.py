import contextlib
import time
from dataclasses import replace

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.processes import start
from tests.training.conftest import SIZE
from tests.training.kill_setup import train_long
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.code import definitions_of
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.fitting.checkpoint import CheckpointError
from vad_pipeline.fitting.devices import TrainingError, device_check
from vad_pipeline.models import conv3d_ae
from vad_pipeline.models.lgn_net import Config, LGNNet
from vad_pipeline.training.train import Training, train, training_fingerprint


def run(folder, config, training, clips, seed=0, callbacks=()):
    return train("lgn_net", config, SIZE, training, seed, {"frames": clips}, folder, callbacks)


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


class StopAfter(Callback):
    """An end as sudden as a power cut, some steps into an epoch."""

    def __init__(self, epoch, step=1):
        self.at = (epoch, step)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.at:
            raise RuntimeError("power cut")


def test_training_is_deterministic_in_its_seed(tmp_path, config, training, scenes):
    one = run(tmp_path / "a", config, training, scenes)
    other = run(tmp_path / "b", config, training, scenes)
    third = run(tmp_path / "c", config, training, scenes, seed=1)
    assert same(one.checkpoint.state, other.checkpoint.state)
    assert not same(one.checkpoint.state, third.checkpoint.state)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path, config, training, scenes, epoch):
    whole = run(tmp_path / "whole", config, training, scenes)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", config, training, scenes, callbacks=[StopAfter(epoch)])
    started = []

    class Watch(Callback):
        def on_train_epoch_start(self, trainer, module):
            started.append(trainer.current_epoch)

    resumed = run(tmp_path / "cut", config, training, scenes, callbacks=[Watch()])
    assert started == list(range(epoch, 3)), "finished epochs must not be trained again"
    assert same(whole.checkpoint.state, resumed.checkpoint.state)
    left, right = (r.history.set_index(["epoch", "name"])["value"] for r in (whole, resumed))
    assert left.equals(right)


def test_finished_work_is_reused_and_a_change_of_scoring_trains_nothing(tmp_path, config, training, scenes):
    first = run(tmp_path, config, training, scenes)
    again = run(tmp_path, config, training, scenes)
    assert (first.reused, again.reused) == (False, True)
    assert same(first.checkpoint.state, again.checkpoint.state)
    other = run(tmp_path, replace(config, gamma=0.5, psnr_weight=1.0), training, scenes)
    assert other.reused
    assert float(other.checkpoint.state["gamma"]) == 0.5
    assert other.checkpoint.config["psnr_weight"] == 1.0
    assert not run(tmp_path, replace(config, margin=0.5), training, scenes).reused


def test_the_fingerprint_of_a_training_follows_data_parameters_and_seed(config, training, scenes):
    def of(config=config, training=training, seed=0, clips=scenes):
        return training_fingerprint("lgn_net", config, SIZE, training, seed, {"frames": clips})

    assert of() == of()
    assert of() == of(training=replace(training, accelerator="auto"))
    fewer = Clips({name: scenes[name] for name in list(scenes)[:-1]})
    assert (
        len({of(), of(seed=1), of(replace(config, items=5)), of(training=replace(training, epochs=2)), of(clips=fewer)})
        == 5
    )


def test_the_code_of_a_training_is_the_model_s_that_of_its_windows_and_what_makes_them_odd(monkeypatch, training):
    roots = []
    monkeypatch.setattr("vad_pipeline.training.train.code_of", lambda *given: roots.append(given) or "")
    for name, config in (("lgn_net", Config()), ("conv3d_ae", conv3d_ae.Config(pseudo="patch"))):
        training_fingerprint(name, config, SIZE, training, 0, {})
    lgn_net, lntra = (set(definitions_of(*given)) for given in roots)
    both = {"fitting.windows:Windows", "fitting.loaders:EpochSampler", "models.layers.pixels:scale_frames"}
    assert {f"vad_pipeline.{name}" for name in both} <= lgn_net & lntra
    assert {
        f"vad_pipeline.{name}" for name in ("anomalies.patch:patch_clip", "flow.textures:texture")
    } <= lntra - lgn_net
    assert not [name for name in lgn_net if "conv3d" in name or "anomalies" in name]


def test_held_out_clips_take_no_part_and_gamma_is_calibrated_on_them(tmp_path, config, training, scenes):
    trained = run(tmp_path, config, training, scenes)
    assert trained.checkpoint.about["held_out"] == ["train/02"]
    assert float(trained.checkpoint.state["gamma"]) > 0
    names = set(trained.history["name"])
    assert {"train_loss", "val_loss", "val_psnr", "learning_rate"} <= names
    assert sorted(set(trained.history["epoch"])) == [0, 1, 2]


def test_a_damaged_state_is_named_and_a_new_start_offered(tmp_path, config, training, scenes):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path, config, training, scenes, callbacks=[StopAfter(1)])
    (state,) = tmp_path.glob("*/resume.ckpt")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"resume.ckpt.* is damaged .*delete it to train from the start"):
        run(tmp_path, config, training, scenes)
    state.unlink()
    assert not run(tmp_path, config, training, scenes).reused


def test_a_nan_loss_stops_with_the_step_and_keeps_the_last_good_epoch(tmp_path, config, training, scenes, monkeypatch):
    step = LGNNet.training_step

    def poisoned(self, batch, index):
        loss = step(self, batch, index)
        return loss * float("nan") if self.current_epoch == 1 and index == 2 else loss

    monkeypatch.setattr(LGNNet, "training_step", poisoned)
    with pytest.raises(
        TrainingError, match=r"loss is nan at epoch 1, step \d+; the state after epoch 0 is kept"
    ) as stop:
        run(tmp_path, config, training, scenes)
    assert "lower learning_rate" in str(stop.value)
    (state,) = tmp_path.glob("*/resume.ckpt")
    kept = torch.load(state, weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in kept.values())
    monkeypatch.undo()
    assert not run(tmp_path, config, training, scenes).reused


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_said_before_anything_starts():
    with pytest.raises(TrainingError, match=r"sees no CUDA device; .*set accelerator: cpu"):
        device_check("gpu")


def test_frames_that_cannot_be_halved_often_enough_are_refused(tmp_path, config, training, scenes):
    with pytest.raises(TrainingError, match=r"frames of 24x20; .*multiples of 8"):
        train("lgn_net", config, FrameSize(20, 24, "gray"), training, 0, {"frames": scenes}, tmp_path)


def test_no_training_clips_is_an_error(tmp_path, config, training, scenes):
    with pytest.raises(TrainingError, match="no training clips"):
        run(tmp_path, config, training, scenes.split("test"))


def test_an_unknown_training_parameter_is_refused():
    with pytest.raises(ValueError, match="epoch"):
        Training(epoch=3)


def kill_after(epochs, delay, pool, folder):
    """Start a training and kill it a moment after so many more epochs have ended."""
    training = start(train_long, pool, folder)
    saved = {path.stat().st_mtime_ns for path in folder.glob("*/resume.ckpt")}
    wanted = len(saved) + epochs
    deadline = time.monotonic() + 120
    while len(saved) < wanted and training.exitcode is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):  # it is being replaced
            saved |= {path.stat().st_mtime_ns for path in folder.glob("*/resume.ckpt")}
        time.sleep(0.002)
    time.sleep(delay)
    assert training.exitcode is None, "it ended before it was killed"
    training.kill()
    training.join()


@pytest.mark.slow
def test_a_training_killed_at_any_moment_is_resumed_to_the_same_result(tmp_path):
    pool, folder = tmp_path / "pool", tmp_path / "killed"
    kill_after(4, 0.0, pool, folder)
    kill_after(4, 0.03, pool, folder)
    assert not list(folder.glob("*/finished.safetensors"))
    started = []

    class Watch(Callback):
        def on_train_epoch_start(self, trainer, module):
            started.append(trainer.current_epoch)

    killed = train_long(pool, folder, [Watch()])
    assert started[0] >= 7, "what ended before a kill is trained again"
    assert same(killed.checkpoint.state, train_long(pool, tmp_path / "whole").checkpoint.state)


def test_a_model_of_stored_pseudo_anomalies_names_their_absence(scenes, training, tmp_path):
    from vad_pipeline.models.conv3d_ae import Config as Conv3dConfig

    config = Conv3dConfig(width=0.0625, pseudo="inpainted")
    with pytest.raises(TrainingError, match=r"conv3d_ae: it is to train on stored pseudo-anomalies, .* has none"):
        train("conv3d_ae", config, FrameSize(16, 32, "gray"), training, 0, {"frames": scenes}, tmp_path)
