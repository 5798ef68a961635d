import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.clips.window import Stream
from vad_pipeline.flow.dis import DIS, dis_flow
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.systems import model_class
from vad_pipeline.scoring import run_time
from vad_pipeline.scoring.run_time import FrameByFrame, RunTime, time_frames
from vad_pipeline.scoring.score import ScoringError
from vad_pipeline.training.streams import recipes_of

SIZE = FrameSize(16, 32, "gray")


class Clock:
    """Seconds that pass only where somebody lets them."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Slow:
    """A network of which every step takes a stated time; ``first`` frames take a hundred times as long."""

    def __init__(self, clock, window, network=0.003, preparing=0.002, first=0):
        self.clock, self.window, self.times, self.first = clock, window, (preparing, network), first
        self.pushed, self.of_clip, self.ended = 0, 0, 0

    def rows(self, native):
        self.clock.now += self.times[0]
        return {"frames": native[None]}

    def push(self, rows):
        self.clock.now += self.times[1] * (100 if self.pushed < self.first else 1)
        self.pushed += 1
        self.of_clip += 1
        last = self.of_clip - self.window.length
        return object() if last >= 0 and last % self.window.stride == 0 else None

    def finish(self):
        self.of_clip = 0
        self.ended += 1


def clip_of(n_frames, clock=None, reading=0.0):
    def frames():
        for _ in range(n_frames):
            if clock is not None:
                clock.now += reading
            yield np.zeros((8, 8, 1), np.uint8)

    return frames


def window_of(name, **config):
    model = model_class(name)
    return model.window(model.config_class(**config))


def test_spans_are_told_apart_and_their_sum_is_end_to_end():
    clock = Clock()
    part = Slow(clock, window_of("lgn_net"))
    times = time_frames([part], [clip_of(40, clock, 0.001)], RunTime(("lgn_net",), frames=10), clock)
    assert times.reading == pytest.approx(1)
    assert times.network == pytest.approx(3)
    assert times.end_to_end == pytest.approx(6)


def test_a_system_takes_the_sum_of_its_parts():
    clock = Clock()
    parts = [Slow(clock, window_of("lgn_net")), Slow(clock, window_of("conv3d_ae"), network=0.004)]
    times = time_frames(parts, [clip_of(40)], RunTime(("lgn_net",), frames=10, warm_up=0), clock)
    assert times.network == pytest.approx(7)
    assert times.end_to_end == pytest.approx(11)


def test_frames_of_the_warm_up_and_before_the_first_score_do_not_count():
    clock, window = Clock(), window_of("lgn_net")
    slow = window.length + 6  # the window fills, then six frames of the warm-up
    part = Slow(clock, window, first=slow)
    wanted = RunTime(("lgn_net",), frames=3, warm_up=6)
    assert time_frames([part], [clip_of(40)], wanted, clock).network == pytest.approx(3)
    assert part.pushed == slow + 3, "no more frames than are asked for"

    counted = Slow(clock, window, first=slow + 2)  # two of three that count
    assert time_frames([counted], [clip_of(40)], wanted, clock).network == pytest.approx(300)


def test_clips_are_gone_through_again_until_there_are_enough_frames():
    clock, window = Clock(), window_of("lgn_net")
    part = Slow(clock, window)
    time_frames([part], [clip_of(window.length + 2), clip_of(window.length + 1)], RunTime(("lgn_net",), 7, 0), clock)
    assert part.ended == 5, "two frames of the first and one of the second, twice, then one"


def test_frames_of_windows_apart_share_the_time_of_their_window():
    clock = Clock()
    window = window_of("conv3d_ae", windows="apart")
    assert window.stride == 16

    class AllAtOnce(Slow):
        def push(self, rows):
            scored = super().push(rows)
            if scored is not None:
                self.clock.now += 1.6
            return scored

    part = AllAtOnce(clock, window, network=0)
    times = time_frames([part], [clip_of(80)], RunTime(("conv3d_ae",), frames=20, warm_up=0), clock)
    assert times.network == pytest.approx(100)
    assert part.pushed == 48, "one window before the first score, two that count"


def test_clips_that_are_too_short_are_an_error():
    part = Slow(Clock(), window_of("lgn_net"))
    with pytest.raises(ScoringError, match="no clip to score has 6 frames"):
        time_frames([part], [clip_of(5)], RunTime(("lgn_net",)))


def test_an_unknown_system_is_an_error_that_lists_the_known():
    with pytest.raises(ValidationError, match=r"run_time\.systems: unknown system 'lgn'; there are: .*lgn_net"):
        RunTime(("lgn",))


@pytest.mark.parametrize("name", ["frame_pred", "msti_net"])
def test_frame_by_frame_gives_the_scores_of_the_whole_clip(name):
    model, options = untrained(name), ScoringOptions()
    recipes = recipes_of(model.streams(model.config))
    part = FrameByFrame(model, SIZE, recipes, options)
    n = part.window.length + 3
    native = np.random.default_rng(0).integers(0, 255, (n, 24, 40, 1), np.uint8)
    rows = [part.rows(frame) for frame in native]
    one_by_one = [batch for given in rows if (batch := part.push(given)) is not None]
    whole = {stream: np.concatenate([given[stream] for given in rows if stream in given]) for stream in part.streams}
    (expected,) = model.scorer(options).clip(whole)
    assert np.concatenate([batch.frames for batch in one_by_one]).tolist() == expected.frames.tolist()
    for term, values in expected.terms.items():
        found = np.concatenate([batch.terms[term] for batch in one_by_one])
        np.testing.assert_allclose(found, values, rtol=1e-3)
    if "flow" in part.streams:
        assert whole["flow"].shape == (n - 1, SIZE.height, SIZE.width, 2)


def test_after_a_clip_there_is_no_flow_from_its_last_frame():
    model = untrained("msti_net")
    part = FrameByFrame(model, SIZE, recipes_of(model.streams(model.config)), ScoringOptions())
    frame = np.zeros((24, 40, 1), np.uint8)
    assert "flow" not in part.rows(frame)
    assert "flow" in part.rows(frame)
    part.finish()
    assert "flow" not in part.rows(frame)


def test_flow_of_a_pair_is_what_the_recipes_estimator_finds():
    earlier, later = np.random.default_rng(0).integers(0, 255, (2, 40, 48, 1), np.uint8)
    recipes = recipes_of({"flow": Stream(range(1), {"estimator": "dis"})}, dis=DIS("fast"))
    assert recipes["flow"] == {"estimator": "dis", "settings": {"preset": "fast"}}
    found = run_time._flow_of_pair(recipes["flow"], torch.device("cpu"))(earlier, later)
    np.testing.assert_array_equal(found, dis_flow(earlier, later, DIS("fast")).astype(np.float16))


def test_the_processor_is_named_with_its_threads():
    assert run_time.device_name(torch.device("cpu")).endswith(("thread", "threads"))


def untrained(name):
    torch.manual_seed(0)
    model = model_class(name)
    return model(model.config_class(**model.tiny), colours=1).eval()
