import lightning
import numpy as np
import pytest
import torch

from vad_pipeline.flow.flow_pairs import RenderedPairDataset, flow_pair_loader, held_out_loader
from vad_pipeline.flow.rendered_pairs import HELD_OUT, RenderedPairs, render_pair

CONFIG = RenderedPairs(height=32, width=48, objects=(1, 3))


def epochs(count, workers=0, first=0):
    """What the batches of some epochs hold, drawn as Lightning does."""
    loader = flow_pair_loader(CONFIG, seed=0, pairs=6, batch_size=2, workers=workers)
    drawn = []
    for epoch in range(first, first + count):
        loader.sampler.set_epoch(epoch)
        drawn.append(torch.cat([batch["earlier"] for batch in loader]))
    return drawn


def test_an_item_is_the_pair_of_that_number():
    item = RenderedPairDataset(CONFIG, seed=0, size=5)[3]
    pair = render_pair(CONFIG, 0, 3)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in item.items()} == {
        "earlier": ((32, 48, 3), torch.uint8),
        "later": ((32, 48, 3), torch.uint8),
        "flow": ((32, 48, 2), torch.float32),
    }
    assert all(np.array_equal(item[name].numpy(), getattr(pair, name)) for name in item)


def test_every_epoch_has_new_pairs_and_each_of_them_once():
    pairs = torch.cat(epochs(3))
    assert len(pairs) == 18
    assert len(torch.unique(pairs.flatten(1), dim=0)) == 18


def test_a_resumed_run_draws_what_an_uninterrupted_one_does():
    whole = epochs(3)
    assert torch.equal(epochs(1, first=2)[0], whole[2])


def test_a_persistent_worker_draws_what_the_training_process_draws():
    for here, there in zip(epochs(3), epochs(3, workers=1), strict=True):
        assert torch.equal(here, there)


class Recorder(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[float] = []

    def training_step(self, batch, _):
        self.seen += batch["earlier"].float().mean(dim=(1, 2, 3)).tolist()
        return self.layer(batch["flow"].mean().reshape(1, 1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_lightning_passes_the_epoch_on_also_after_resuming(tmp_path):
    def train(epochs, checkpoint=None):
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path, enable_checkpointing=False,
        )  # fmt: skip
        module = Recorder()
        trainer.fit(module, flow_pair_loader(CONFIG, 0, 4, 2, workers=0), ckpt_path=checkpoint, weights_only=False)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return module.seen

    whole, start = train(3), train(1)
    assert len(set(whole)) == 12
    assert start == whole[:4]
    assert train(3, tmp_path / "1.ckpt") == whole[4:]


def test_the_last_incomplete_batch_is_dropped_unless_it_is_the_only_one():
    assert [len(batch["flow"]) for batch in flow_pair_loader(CONFIG, 0, 5, 2, workers=0)] == [2, 2]
    assert [len(batch["flow"]) for batch in flow_pair_loader(CONFIG, 0, 3, 8, workers=0)] == [3]


def test_held_out_pairs_are_the_same_every_time_and_none_of_training():
    loader = held_out_loader(CONFIG, seed=0, pairs=5, batch_size=4)
    first, again = (torch.cat([batch["earlier"] for batch in loader]) for _ in range(2))
    assert torch.equal(first, again)
    assert np.array_equal(first[2].numpy(), render_pair(CONFIG, 0, HELD_OUT + 2).earlier)
    assert len(first) == 5


@pytest.mark.parametrize("workers", [0, 1])
def test_frames_at_hand_reach_the_renderer(workers):
    frames = [np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)]
    batch = next(iter(flow_pair_loader(CONFIG, 0, 4, 4, frames, workers)))
    assert np.array_equal(batch["later"][1].numpy(), render_pair(CONFIG, 0, 1, frames).later)
    assert not np.array_equal(batch["later"][1].numpy(), render_pair(CONFIG, 0, 1).later)
