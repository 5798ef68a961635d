"""Milliseconds per test frame as bars: ours, and what papers print."""

import math

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.report.figures import NORMAL, TRIVIAL


def run_time_figure(table: pd.DataFrame) -> Figure:
    """Bars on a logarithmic axis, in the table's order: the network inside end to end; published figures gray.

    Args:
        table: columns row, device, network_ms, end_to_end_ms, published_ms; cited rows have the last alone.
    """
    ours = table["end_to_end_ms"].notna()
    devices = table["device"].fillna("")
    titles = [f"{row}\n{device}" if device else str(row) for row, device in zip(table["row"], devices, strict=True)]
    ticks = range(len(table))
    longest = table["end_to_end_ms"].fillna(table["published_ms"])
    figure = Figure(figsize=(8.0, 1.0 + 0.36 * max(1, len(table))), layout="constrained")
    axis = figure.subplots()
    axis.barh(ticks, table["published_ms"].where(~ours), color=TRIVIAL, label="published, their machines")
    axis.barh(ticks, table["end_to_end_ms"], color=NORMAL, alpha=0.4, label="end to end")
    axis.barh(ticks, table["network_ms"], color=NORMAL, height=0.45, label="network alone")
    for tick, milliseconds in zip(ticks, longest, strict=True):
        axis.annotate(f" {milliseconds:.3g}", (milliseconds, tick), va="center", fontsize=8)
    axis.set_yticks(ticks, titles, fontsize=7)
    axis.invert_yaxis()
    axis.set_xscale("log")
    shortest = float(table[["network_ms", "published_ms"]].min().min())
    axis.set_xlim(10 ** math.floor(math.log10(shortest)), 2 * longest.max())  # such an axis has no zero to begin at
    axis.set(xlabel="milliseconds per test frame")
    figure.legend(fontsize=8, loc="outside upper center", ncols=3)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
