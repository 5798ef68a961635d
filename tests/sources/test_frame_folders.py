import shutil

import numpy as np
import pytest
import scipy.io

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, raw_clips
from vad_pipeline.sources.frame_folders import FrameFoldersConfig, read_frame_folders, read_mat_spans
from vad_pipeline.sources.raw_clip import SourceError, Span


@pytest.fixture
def root(tmp_path, write_image):
    """Two train clips and three test clips of 4, 5 and 6 colour frames, counted from 000."""
    for clip, n_frames in {"training": {"01": 3, "02": 3}, "testing": {"1": 4, "2": 5, "10": 6}}.items():
        for name, n in n_frames.items():
            for t in range(n):
                write_image(tmp_path / clip / "frames" / name / f"{t:03d}.jpg", np.full((8, 12, 3), 20 * t, np.uint8))
    return tmp_path


def save_mat(path, cells, name="gt"):
    """As MATLAB saves a 1 x N cell array."""
    gt = np.empty((1, len(cells)), object)
    for i, cell in enumerate(cells):
        gt[0, i] = np.asarray(cell)
    scipy.io.savemat(path, {name: gt})


def read(root, labels=None):
    return {raw.clip: raw for raw in read_frame_folders(FrameFoldersConfig(str(root), labels))}


def test_frames_are_read_in_numeric_order_with_the_stated_rate(root, carry_out):
    config = FrameExtraction("frame_folders", frame_folders={"root": str(root), "fps": 25})
    frames = carry_out(frame_jobs(config))
    assert list(raw_clips(config)) == ["train/01", "train/02", "test/1", "test/2", "test/10"]
    assert frames["test/10"].shape == (6, 8, 12, 3)
    assert frames["test/10"].fps == 25
    np.testing.assert_allclose(frames["test/10"].array()[:, 4, 6, 0], 20 * np.arange(6), atol=2)


def test_mat_events_are_counted_from_one_with_the_end_inside(root):
    save_mat(root / "toy.mat", [[[1, 4], [2, 4]], [[2], [5]], np.zeros((2, 0))])
    clips = read(root, "toy.mat")
    assert clips["test/1"].spans == (Span(0, 2), Span(3, 4))
    assert clips["test/2"].spans == (Span(1, 5),)
    assert clips["test/10"].spans == ()
    assert clips["test/1"].labels(4)[0].tolist() == [1, 1, 0, 1]
    assert clips["train/01"].spans == ()


@pytest.mark.parametrize("pair", [[61, 180], [[61, 180]], [[61], [180]], np.array([61.0, 180.0])])
def test_a_single_event_is_a_span_whichever_way_round_it_was_stored(tmp_path, pair):
    save_mat(tmp_path / "ped2.mat", [pair, [[1, 20], [9, 30]]])
    assert read_mat_spans(tmp_path / "ped2.mat") == [(Span(60, 180),), (Span(0, 9), Span(19, 30))]


@pytest.mark.parametrize(
    "cell", [[[1, 2], [5, 6], [9, 9]], [5, 1], [0, 4], [1.5, 4], [[1, np.nan], [2, 4]], 7, ["a", "b"]]
)
def test_a_cell_of_another_form_is_shown_not_guessed_at(tmp_path, cell):
    save_mat(tmp_path / "ped2.mat", [[1, 2], cell])
    with pytest.raises(SourceError, match=r"ped2\.mat: clip 2 of 'gt' is .*2 x E array of \[start; end\]"):
        read_mat_spans(tmp_path / "ped2.mat")


def test_a_mat_without_gt_lists_what_it_has(tmp_path):
    save_mat(tmp_path / "avenue.mat", [[1, 2]], name="volLabel")
    with pytest.raises(SourceError, match=r"avenue\.mat: no variable 'gt', there are: volLabel; 'gt' must be"):
        read_mat_spans(tmp_path / "avenue.mat")


def test_a_plain_matrix_called_gt_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "ped2.mat", {"gt": np.array([[1, 2], [5, 6]])})
    with pytest.raises(SourceError, match=r"'gt' is int64 \(2, 2\); 'gt' must be a cell array"):
        read_mat_spans(tmp_path / "ped2.mat")


@pytest.mark.parametrize("kept", [0, 10, 128, 150, 200])
def test_a_damaged_mat_is_named(tmp_path, kept):
    save_mat(tmp_path / "ped2.mat", [[1, 2], [3, 4]])
    (tmp_path / "ped2.mat").write_bytes((tmp_path / "ped2.mat").read_bytes()[:kept])
    with pytest.raises(SourceError, match=r"ped2\.mat: no"):
        read_mat_spans(tmp_path / "ped2.mat")


def test_a_mat_of_matlabs_hdf5_format_says_how_to_save_it(tmp_path):
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "ped2.mat").write_bytes(header + bytes(512))
    with pytest.raises(SourceError, match=r"ped2\.mat: no readable \.mat file .*format 7 or lower"):
        read_mat_spans(tmp_path / "ped2.mat")


def test_a_mat_for_another_number_of_clips_is_counted_in_the_error(root):
    save_mat(root / "toy.mat", [[1, 2], [1, 2]])
    with pytest.raises(SourceError, match=r"toy\.mat: labels 2 clips, 3 test clips are on disk; .*one release"):
        read(root, "toy.mat")


@pytest.mark.parametrize("shape", [(15,), (1, 15)])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float64])
def test_npy_labels_are_dealt_out_to_the_clips_in_numeric_order(root, shape, dtype):
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], dtype)
    np.save(root / "frame_labels.npy", labels.reshape(shape))
    clips = read(root, "frame_labels.npy")
    assert clips["test/1"].frame_labels == (0, 1, 1, 0)
    assert clips["test/2"].frame_labels == (1, 0, 0, 0, 0)
    assert clips["test/10"].frame_labels == (0, 0, 0, 0, 1, 1)


def test_npy_labels_reach_the_label_table(root, carry_out):
    np.save(root / "labels.npy", np.arange(15) % 2)
    config = FrameExtraction("frame_folders", frame_folders={"root": str(root), "labels": "labels.npy"})
    table = label_table(config, carry_out(frame_jobs(config)))
    assert table["label"].tolist() == [0, 1] * 7 + [0]
    assert table["clip"].drop_duplicates().tolist() == ["test/1", "test/2", "test/10"]


def test_a_label_file_elsewhere_is_read_by_its_absolute_path(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "labels.npy"
    np.save(path, np.zeros(15))
    assert read(root, str(path))["test/2"].frame_labels == (0,) * 5


@pytest.mark.parametrize("n", [14, 16])
def test_npy_labels_of_another_number_are_counted_in_the_error(root, n):
    np.save(root / "labels.npy", np.zeros(n))
    with pytest.raises(SourceError, match=rf"labels\.npy: {n} labels for 15 test frames; .*one release"):
        read(root, "labels.npy")


@pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
def test_labels_other_than_zero_and_one_are_refused(root, value):
    np.save(root / "labels.npy", np.r_[np.zeros(14), value])
    with pytest.raises(SourceError, match=r"labels\.npy: labels other than 0 and 1; save 1 for an abnormal frame"):
        read(root, "labels.npy")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK not a zip", b"hello"])
def test_a_damaged_npy_is_named(root, content):
    (root / "labels.npy").write_bytes(content)
    with pytest.raises(SourceError, match=r"labels\.npy: no readable array .*; save one array of 0 and 1"):
        read(root, "labels.npy")


def test_an_array_of_objects_is_not_unpickled(root):
    np.save(root / "labels.npy", np.array([[0, 1], [0]], object))
    with pytest.raises(SourceError, match="no readable array"):
        read(root, "labels.npy")


def test_a_missing_label_file_says_how_to_do_without(root):
    with pytest.raises(SourceError, match=r"gone\.npy is missing; set labels to null for unlabelled data"):
        read(root, "gone.npy")


def test_labels_of_another_format_are_refused(root):
    (root / "labels.csv").write_text("0,1")
    with pytest.raises(SourceError, match=r"labels\.csv: labels are read from \.mat or \.npy"):
        read(root, "labels.csv")


def test_labels_without_test_clips_are_refused(root):
    shutil.rmtree(root / "testing")
    np.save(root / "labels.npy", np.zeros(0))
    with pytest.raises(SourceError, match=r"labels\.npy labels test clips, but there is no testing/frames"):
        read(root, "labels.npy")


def test_unlabelled_data_give_no_label_rows(root, carry_out):
    config = FrameExtraction("frame_folders", frame_folders={"root": str(root)})
    frames = carry_out(frame_jobs(config))
    assert len(label_table(config, frames)) == 0
    assert not read(root)["test/1"].labelled


def test_validation_clips_are_read_where_there_are_some(root):
    assert not any(clip.startswith("val/") for clip in read(root))
    shutil.copytree(root / "training", root / "validation")
    np.save(root / "labels.npy", np.zeros(15))
    assert [clip for clip in read(root, "labels.npy") if clip.startswith("val/")] == ["val/01", "val/02"]


def test_test_clips_may_be_absent(root):
    shutil.rmtree(root / "testing")
    assert list(read(root)) == ["train/01", "train/02"]


def test_a_missing_root_says_what_to_put_where_or_how_to_do_without(tmp_path):
    with pytest.raises(SourceError) as error:
        read(tmp_path / "avenue")
    frames = tmp_path / "avenue" / "training" / "frames"
    assert str(error.value).startswith(f"{frames} is missing; put one folder of images per clip there ({frames}/01/")
    assert "run without --env to use the built-in scenes" in str(error.value)


def test_frames_lying_beside_the_clip_folders_are_not_a_clip(tmp_path, write_image):
    write_image(tmp_path / "training" / "frames" / "000.jpg", np.zeros((8, 12, 3), np.uint8))
    with pytest.raises(SourceError, match="training/frames holds no clips; put one folder of images per clip there"):
        read(tmp_path)


def test_a_truncated_jpeg_is_named_in_the_error(root, carry_out, cut_in_half):
    path = root / "training" / "frames" / "02" / "001.jpg"
    cut_in_half(path)
    with pytest.raises(SourceError, match=rf"{path}: cannot be decoded .*fetch it again"):
        carry_out(frame_jobs(FrameExtraction("frame_folders", frame_folders={"root": str(root)})))
