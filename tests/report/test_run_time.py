import pandas as pd

from vad_pipeline.report.run_time import run_time_figure


def test_ours_have_the_network_inside_end_to_end_and_cited_rows_a_bar_of_their_own():
    table = pd.DataFrame(
        {
            "row": ["lgn_net", "MemAE (cited)"],
            "device": ["a processor", None],
            "network_ms": [20.0, None],
            "end_to_end_ms": [50.0, None],
            "published_ms": [52.6, 38.0],
        }
    )
    (axis,) = run_time_figure(table).axes
    cited, whole, network = ([bar.get_width() for bar in bars] for bars in axis.containers)
    assert (cited[1], whole[0], network[0]) == (38, 50, 20)
    assert pd.isna([cited[0], whole[1], network[1]]).all()
    assert [label.get_text() for label in axis.get_yticklabels()] == ["lgn_net\na processor", "MemAE (cited)"]
    assert [text.get_text().strip() for text in axis.texts] == ["50", "38"]
    assert axis.get_xlim()[0] == 10
