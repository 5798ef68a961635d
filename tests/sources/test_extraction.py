import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.clips.fingerprint import files_fingerprint, fingerprint
from vad_pipeline.sources import SOURCES
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, mask_jobs, raw_clips
from vad_pipeline.sources.raw_clip import RawClip, SourceError, Span, spans_of


def raw(clip, n=3, **settings):
    return RawClip(clip, clip, lambda: iter(np.zeros((n, 4, 6, 1), np.uint8)), f"where {clip} lies", **settings)


@pytest.fixture
def source(monkeypatch):
    """Makes the scenes source hand over the given raw clips."""

    def use(*clips):
        made = SOURCES["scenes"]
        replaced = type(made)(made.config, lambda config: list(clips), made.libraries)
        monkeypatch.setitem(SOURCES, "scenes", replaced)
        return FrameExtraction("scenes")

    return use


def test_an_unknown_source_lists_the_known_ones():
    known = "scenes, ucsd, ubnormal, frame_folders, videos, idx_images, digits"
    with pytest.raises(ValidationError, match=f"unknown source 'avenue'; known are: {known}"):
        FrameExtraction("avenue")


@pytest.mark.parametrize("name", list(SOURCES))
def test_an_unknown_setting_of_a_source_is_named(name):
    with pytest.raises(ValidationError, match="colour_of_sky"):
        raw_clips(FrameExtraction(name, **{name: {"colour_of_sky": "blue"}}))


def test_only_the_chosen_sources_settings_count(source):
    config = source(raw("train/01"))
    elsewhere = FrameExtraction("scenes", ucsd={"nonsense": 1})
    assert list(raw_clips(elsewhere)) == list(raw_clips(config)) == ["train/01"]


def test_an_unknown_section_is_refused():
    with pytest.raises(ValidationError, match="avenue"):
        FrameExtraction("scenes", avenue={})


def test_clips_come_train_first_and_by_number(source):
    config = source(*map(raw, ("test/2", "val/1", "test/10", "train/11", "train/9")))
    assert list(raw_clips(config)) == ["train/9", "train/11", "val/1", "test/2", "test/10"]


def test_the_label_table_has_a_row_per_frame_of_every_labelled_test_clip(source, carry_out):
    config = source(
        raw("train/01", spans=()),
        raw("test/01", spans=(Span(1, 3, "cart"),)),
        raw("test/02", spans=()),
        raw("test/03"),
        raw("test/04", n=2, frame_labels=(1, 0)),
    )
    table = label_table(config, carry_out(frame_jobs(config)))
    assert table.columns.tolist() == ["clip", "frame", "label", "kind"]
    assert table["clip"].tolist() == ["test/01"] * 3 + ["test/02"] * 3 + ["test/04"] * 2
    assert table["frame"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert table["label"].tolist() == [0, 1, 1, 0, 0, 0, 1, 0]
    assert table["kind"].tolist() == ["", "cart", "cart", "", "", "", "", ""]


def test_a_label_table_without_rows_has_the_types_of_one_with_rows(source, carry_out):
    labelled = source(raw("test/01", spans=()))
    full = label_table(labelled, carry_out(frame_jobs(labelled)))
    empty = label_table(source(raw("test/01")), {})
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert full["label"].dtype == np.int8
    assert full["frame"].dtype == np.int64


def test_more_or_fewer_labels_than_frames_are_counted_in_the_error(source, carry_out):
    config = source(raw("test/07", frame_labels=(0, 1)))
    frames = carry_out(frame_jobs(config))
    with pytest.raises(
        SourceError, match=r"clip test/07: 2 labels for 3 frames \(where test/07 lies\); .*same release"
    ):
        label_table(config, frames)


@pytest.mark.parametrize("span", [Span(-1, 2), Span(1, 4), Span(2, 2)])
def test_a_span_that_leaves_its_clip_is_named(span):
    with pytest.raises(SourceError, match=r"clip test/07: the abnormal span of frames .* 3 frames .*correct the label"):
        raw("test/07", spans=(span,)).labels(3)


def test_overlapping_spans_label_a_frame_once():
    labels, kinds = raw("test/07", spans=(Span(0, 2, "cart"), Span(1, 3, "bike"))).labels(4)
    assert labels.tolist() == [1, 1, 1, 0]
    assert kinds == ["cart", "bike", "bike", ""]


def test_frames_of_a_job_start_and_stop_where_they_are_told(source):
    job = frame_jobs(source(raw("train/01", n=5)))["train/01"]
    assert len(list(job.rows(0, None))) == 5
    assert len(list(job.rows(1, 3))) == 2


def test_only_clips_with_masks_get_mask_jobs(source, carry_out):
    masks = np.zeros((3, 4, 6), bool)
    masks[1, 2, 3] = True
    config = source(raw("test/01"), raw("test/02", masks=lambda: iter(masks)))
    stored = carry_out(mask_jobs(config, carry_out(frame_jobs(config))))
    assert list(stored) == ["test/02"]
    assert stored["test/02"].dtype == "bool"
    np.testing.assert_array_equal(stored["test/02"].array(), masks)


def test_new_masks_make_new_mask_jobs_but_no_new_frames(source, carry_out):
    configs = [raw("test/01", masks=lambda: iter(()), masks_fingerprint=name) for name in ("old", "new")]
    frames = carry_out(frame_jobs(source(configs[0])))
    of_frames = [frame_jobs(source(clip))["test/01"].fingerprint for clip in configs]
    of_masks = [mask_jobs(source(clip), frames)["test/01"].fingerprint for clip in configs]
    assert of_frames[0] == of_frames[1]
    assert of_masks[0] != of_masks[1]


@pytest.mark.parametrize(
    ("labels", "spans"), [([], ()), ([0, 0], ()), ([1, 1], ((0, 2),)), ([1, 0, 1, 1, 0, 1], ((0, 1), (2, 4), (5, 6)))]
)
def test_labels_become_spans(labels, spans):
    assert spans_of(labels) == spans


def test_parts_of_a_fingerprint_do_not_run_into_each_other():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("ab", "c") == fingerprint("ab", "c")


def test_a_content_fingerprint_outlives_copying_and_a_stat_fingerprint_does_not(tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "001.jpg").write_bytes(b"pixels")
    here, there = ([tmp_path / folder / "001.jpg"] for folder in ("here", "there"))
    assert files_fingerprint(here, content=True) == files_fingerprint(there, content=True)
    assert files_fingerprint(here) != files_fingerprint(there)
    before = files_fingerprint(here, content=True)
    here[0].write_bytes(b"pixel5")
    assert files_fingerprint(here, content=True) != before
