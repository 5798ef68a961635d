import pytest
import torch

from tests.fitting.toys import Bank, learn_bank
from vad_pipeline.fitting.checkpoint import CheckpointError
from vad_pipeline.fitting.fit import RESUME
from vad_pipeline.fitting.one_pass import take_state


@pytest.fixture
def whole(tmp_path):
    return learn_bank(tmp_path / "whole")[1]


def opened(folder):
    return [int(line) for line in (folder / "opened").read_text().split()]


def test_every_clip_is_seen_once_and_in_order(tmp_path, whole):
    assert opened(tmp_path / "whole") == list(range(6))
    assert whole.state["items"].shape == (2 + 3 + 4 + 5 + 6 + 7, 3)
    assert whole.state["items"][:, 0].tolist() == [n for n in range(6) for _ in range(2 + n)]


def test_the_history_has_the_number_of_the_clip_for_an_epoch(whole):
    assert list(whole.history.columns) == ["epoch", "name", "value"]
    assert whole.history["epoch"].tolist() == list(range(6))
    assert set(whole.history["name"]) == {"items"}
    assert whole.history["value"].tolist() == [2, 5, 9, 14, 20, 27]


def test_a_pass_killed_within_a_clip_goes_on_with_that_clip_to_the_same_result(tmp_path, whole, killed):
    folder = tmp_path / "killed"
    killed(learn_bank, folder, 3.0)
    assert opened(folder) == [0, 1, 2, 3]
    kept = torch.load(folder / RESUME, weights_only=True)
    assert kept["done"] == 3
    assert len(kept["state_dict"]["items"]) == 2 + 3 + 4, "of the clip that it died in nothing is kept"
    _, resumed = learn_bank(folder)
    assert opened(folder) == [0, 1, 2, 3, 3, 4, 5], "what was kept is not seen again"
    assert torch.equal(whole.state["items"], resumed.state["items"])
    assert whole.history.equals(resumed.history)
    assert resumed.seconds > kept["seconds"] > 0


def test_a_finished_pass_whose_result_was_not_yet_safe_sees_nothing_again(tmp_path, whole):
    _, again = learn_bank(tmp_path / "whole")
    assert opened(tmp_path / "whole") == list(range(6))
    assert torch.equal(whole.state["items"], again.state["items"])
    assert whole.history.equals(again.history)


def test_an_interruption_costs_no_more_than_what_was_not_yet_kept(tmp_path, whole, monkeypatch):
    learn = Bank.learn

    def failing(self, clip):
        if clip["frames"][0, 0] == 3:
            raise KeyboardInterrupt
        return learn(self, clip)

    monkeypatch.setattr(Bank, "learn", failing)
    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        learn_bank(folder, keep_every=1000.0)
    assert not (folder / RESUME).exists()
    monkeypatch.undo()
    _, result = learn_bank(folder, keep_every=1000.0)
    assert opened(folder) == [0, 1, 2, 3, *range(6)]
    assert torch.equal(whole.state["items"], result.state["items"])


def test_a_damaged_state_is_named_with_the_remedy(tmp_path, whole):
    path = tmp_path / "whole" / RESUME
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=rf"{RESUME}.* is damaged .*delete it to train from the start"):
        learn_bank(tmp_path / "whole")
    path.unlink()
    _, again = learn_bank(tmp_path / "whole")
    assert torch.equal(whole.state["items"], again.state["items"])


def test_a_state_of_other_shapes_is_taken_over_where_the_buffers_lie():
    grown = {"items": torch.arange(12.0).reshape(4, 3)}
    bank = Bank()
    take_state(bank, grown)
    assert torch.equal(bank.items, grown["items"])
    assert "items" in bank.state_dict()
    elsewhere = Bank().to("meta")  # a device that is not the state's, as a GPU would be
    take_state(elsewhere, grown)
    assert (elsewhere.items.device.type, elsewhere.items.shape) == ("meta", (4, 3))
