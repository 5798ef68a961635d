import json

import pytest

from vad_pipeline import where_to_look


@pytest.mark.parametrize("root", ["data", "elsewhere", "/absolute"])
def test_it_names_the_newest_report_and_the_headline(tmp_path, monkeypatch, capsys, root):
    monkeypatch.setattr(where_to_look, "PROJECT", tmp_path)
    monkeypatch.delenv("VAD_DATA_ROOT", raising=False)
    root = str(tmp_path) + root if root.startswith("/") else root
    if root != "data":
        monkeypatch.setenv("VAD_DATA_ROOT", root)
    folder = tmp_path / root / "08_reporting" / "scenes" / "lgn_net"
    for version, auc in (("v1", 0.5), ("v2", 0.875)):
        for name in ("report.html", "metrics.json"):
            (folder / name / version).mkdir(parents=True)
        (folder / "report.html" / version / "report.html").write_text("")
        metrics = {"micro_auc": auc, "micro_auc_low": 0.8, "micro_auc_high": 0.9}
        (folder / "metrics.json" / version / "metrics.json").write_text(json.dumps(metrics))
    where_to_look.main()
    out = capsys.readouterr().out
    assert "micro AUC 87.5%" in out
    assert str(folder / "report.html" / "v2" / "report.html") in out


def test_without_a_run_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.delenv("VAD_DATA_ROOT", raising=False)
    monkeypatch.setattr(where_to_look, "PROJECT", tmp_path)
    with pytest.raises(SystemExit, match="run `kedro run` first"):
        where_to_look.main()
