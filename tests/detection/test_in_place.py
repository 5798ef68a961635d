"""A folder is replaced as a whole."""

import threading

import pytest

from vad_pipeline.detection import in_place


def folder_with(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("exchange", [True, False])
def test_the_new_folder_takes_the_name_of_the_earlier_one_and_nothing_else_is_left(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(in_place, "exchanged", lambda one, other: False)
    for text in ("first", "second"):
        in_place.put_in_place(folder_with(tmp_path / ".new.partial", text), tmp_path / "new")
        assert (tmp_path / "new" / "file").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_at_no_moment_is_neither_there(tmp_path):
    one, other = folder_with(tmp_path / "one", "one"), folder_with(tmp_path / "other", "other")
    if not in_place.exchanged(one, other):
        pytest.skip("this file system exchanges no names")
    missing, over = [], threading.Event()

    def look():
        while not over.is_set():
            missing.append(not (tmp_path / "other").exists())

    looker = threading.Thread(target=look)
    looker.start()
    for _ in range(200):
        in_place.put_in_place(folder_with(tmp_path / "new", "new"), tmp_path / "other")
    over.set()
    looker.join()
    assert len(missing) > 10
    assert not any(missing)
