"""Figures from what the reports kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter

FOLDER = Path(__file__).parent / "plots"


def draw(name: str, figure: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Writes <folder>/<name>.svg; the same figure always gives the same file."""
    # Ids are random and the date is noted otherwise, so that every run would change every file.
    with matplotlib.rc_context({"svg.hashsalt": "windlass", "font.size": 9}):
        canvas, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
        for label, line in figure["lines"].items():
            axes.plot(*zip(*line, strict=True), label=label, marker="o" if len(line) < 30 else None, markersize=3)
        axes.set(title=figure["title"], xlabel=figure["x"], ylabel=figure["y"])
        axes.set(xscale="log" if figure["log_x"] else "linear", yscale="log" if figure["log_y"] else "linear")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        if not figure["log_y"]:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if len(figure["lines"]) > 1:
            axes.legend()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.svg"
        canvas.savefig(path, metadata={"Date": None})
        pyplot.close(canvas)
    return path
