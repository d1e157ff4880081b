"""Plots of how jobs grow: ``python benchmarks/plots.py results/2026-01-01-growth.json ../docs/why/performance`` draws them anew."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What each way looks like in all plots.
_LOOKS = (
    ("Tracelet, processes", "#1f5fbf", "s", "--"),
    ("Tracelet", "#1f5fbf", "o", "-"),
    ("trackio, processes", "#d9730d", "s", "--"),
    ("trackio", "#d9730d", "o", "-"),
    ("DVC", "#6b3fa0", "^", "-"),
    ("plain SDK", "#3a8f3a", "v", "-"),
    ("plain copy", "#777777", "v", "-"),
)
_UNITS = {"s": "seconds", "B": "megabytes", "1/s": "artifacts per second"}
_INK = "#222222"
#: A tenth of a pixel is fine enough for these, and makes the file smaller.
_COORDINATES = re.compile(r'\b(?:d|x|y)="[^"]*"|translate\([^)]*\)')


def draw(series: Mapping[str, Any], folder: Path) -> Path:
    """Draw a series into ``<name>.svg`` in a folder: one panel for each measure, with logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    # The same figures make the same file; text stays text.
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "tracelet",
        "font.size": 10,
        "font.family": "sans-serif",
        "text.color": _INK,
    }
    measures = series["measures"]
    with plt.rc_context(style):
        figure, panels = plt.subplots(
            1, len(measures), figsize=(4.2 * len(measures) + 0.4, 3.9), squeeze=False, facecolor="white"
        )
        for axes, (key, measure) in zip(panels[0], measures.items(), strict=True):
            _panel(axes, series, key, measure)
        lines, labels = [], []
        for axes in panels[0]:
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
                if label not in labels:
                    lines.append(line)
                    labels.append(label)
        figure.suptitle(series["title"].replace("`", ""), fontsize=12)
        columns = 2 * len(measures)
        figure.legend(
            lines,
            labels,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.06),
            ncols=min(len(labels), columns),
            frameon=False,
        )
        # How many letters of this size fit into a line.
        over = textwrap.fill(_over(series["ways"]), int(figure.get_figwidth() / 0.055))
        figure.text(0.01, 0.005, over, fontsize=7.5, color="#666666")
        rows = -(-len(labels) // columns)
        figure.tight_layout(rect=(0, 0.08 + 0.06 * rows, 1, 1))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{series['name']}.svg"
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        plt.close(figure)
    path.write_text(_COORDINATES.sub(lambda found: re.sub(r"(\d\.\d)\d+", r"\1", found[0]), drawn.getvalue()))
    return path


def _over(ways: Mapping[str, Any]) -> str:
    """Why ways have no more points, those with the same reason together."""
    why: dict[str, list[str]] = {}
    for name, way in ways.items():
        if way["over"]:
            why.setdefault(way["over"].splitlines()[0][:90], []).append(name)
    return "; ".join(
        f"all: {reason}" if len(names) == len(ways) else f"{' and '.join(names)}: {reason}"
        for reason, names in why.items()
    )


def _panel(axes: Any, series: Mapping[str, Any], key: str, measure: Mapping[str, Any]) -> None:
    scale = 1e6 if measure["unit"] == "B" else 1.0
    zero = False
    for name, way in series["ways"].items():
        points = [point for point in way["points"] if key in point]
        if not points:
            continue
        color, marker, line = next(look[1:] for look in _LOOKS if name.startswith(look[0]))
        x = [point["n"] for point in points]
        zero = zero or 0 in x
        axes.plot(
            x, [point[key]["median"] / scale for point in points], line, color=color, marker=marker, ms=4, label=name
        )
        axes.fill_between(
            x,
            [point[key]["least"] / scale for point in points],
            [point[key]["most"] / scale for point in points],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
    axes.set_xscale("symlog" if zero else "log", **({"linthresh": 1} if zero else {}))
    axes.set_yscale("log")
    # Whole decades, so that an axis has two numbers at least.
    bottom, top = axes.get_ylim()
    axes.set_ylim(10 ** math.floor(math.log10(bottom)), 10 ** math.ceil(math.log10(top)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_title(measure["title"].replace("`", ""), fontsize=10)
    axes.set_xlabel(series["axis"])
    axes.set_ylabel(_UNITS[measure["unit"]])
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:,.10g}" if value < 1e5 else f"$10^{{{math.log10(value):.0f}}}$"
    )
    few = sorted({point["n"] for way in series["ways"].values() for point in way["points"]})
    if few and few[-1] <= 16:
        axes.set_xticks(few, [f"{n}" for n in few])


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    for series in json.loads(source.read_text())["series"]:
        print(draw(series, folder))


if __name__ == "__main__":
    main()
