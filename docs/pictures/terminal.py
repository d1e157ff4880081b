"""Draws `docs/pictures/terminal.svg`: run ``python docs/pictures/terminal.py``.

It logs three versions of a model in an empty folder, runs the commands of `COMMANDS` there, and draws what they print.
A test runs them again and compares what they print with what the picture shows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_name("terminal.svg")
COMMANDS = (
    "tracelet ls digits --where 'val_loss < 0.5' --sort val_loss",
    "tracelet diff digits net@v0 net@best",
    "tracelet lineage digits net@best",
    "tracelet verify digits",
)
#: What the commands are about.
PROGRAM = """
from pathlib import Path
from tracelet import Experiment

with Experiment("digits", artifacts=True) as exp:
    for name, size in {"train.npz": 9_000_000, "test.npz": 1_500_000}.items():
        Path(name).write_bytes(name.encode() * (size // len(name)))
    exp.log_artifact(exp.create_artifact("images", "dataset").add_file("train.npz").add_file("test.npz"))
    exp.use_artifact("images")
    for epoch, loss in enumerate([0.62, 0.31, 0.27]):
        Path("net.safetensors").write_bytes(bytes([epoch]) * 4_200_000)
        net = exp.create_artifact("net", "model").add_file("net.safetensors")
        if epoch == 2:
            net.add_object({"zero": 0, "one": 1}, "labels")
        net.metadata["val_loss"] = loss
        exp.log_artifact(net, aliases=["best"])
    exp.use_artifact("net", "best")
    page = exp.create_artifact("evaluation", "report").add_object({"accuracy": 0.93}, "accuracy")
    exp.log_artifact(page)
"""
_CHARACTER = 8.0
_LINE = 19
_EDGE = 20
#: What click writes for bold, colours and their end.
_CODE = re.compile(r"\x1b\[(\d+)m")
_STYLES = {"0": "", "1": "bold", "31": "red", "32": "green", "33": "yellow"}


def printed(folder: Path) -> list[str]:
    """Return what a terminal shows: each command, and what it prints, with the codes of its styles."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TRACELET_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    variables |= {"PATH": path, "HOME": str(folder), "FORCE_COLOR": "1", "TZ": "UTC"}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, env=variables, check=True)
    lines = []
    for command in COMMANDS:
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=variables,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        lines += [f"$ {command}", *done.stdout.splitlines(), ""]
    return lines[:-1]


def plain(line: str) -> str:
    """Return a line without the codes of its styles."""
    return _CODE.sub("", line)


def picture(lines: Sequence[str]) -> str:
    """Return the drawing of a terminal that shows these lines."""
    wide = max(len(plain(line)) for line in lines) * _CHARACTER + 2 * _EDGE
    high = len(lines) * _LINE + 2 * _EDGE
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" role="img" aria-label="What tracelet prints in a terminal">',
        "<style>",
        "text { font: 13.3px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d6deeb; white-space: pre; }",
        ".bold { font-weight: 700; fill: #ffffff; } .asked { fill: #82aaff; }",
        ".red { fill: #ff7b72; } .green { fill: #7ee787; } .yellow { fill: #e3b341; }",
        "</style>",
        f'<rect x="1" y="1" width="{wide - 2:.0f}" height="{high - 2}" rx="8" fill="#161b26" stroke="#3b4252"/>',
    ]
    for number, line in enumerate(lines):
        if line:
            long = len(plain(line)) * _CHARACTER
            at = f'x="{_EDGE}" y="{_EDGE + number * _LINE + 14}" textLength="{long:.0f}"'
            drawn.append(f'<text xml:space="preserve" {at}>{_spans(line)}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _spans(line: str) -> str:
    """Return a line with its styles as elements."""
    if line.startswith("$ "):
        return f'<tspan class="asked">{escape(line, quote=False)}</tspan>'
    style, spans = "", []
    for number, part in enumerate(_CODE.split(line)):
        if number % 2:
            style = _STYLES[part]
        elif part:
            told = escape(part, quote=False)
            spans.append(f'<tspan class="{style}">{told}</tspan>' if style else told)
    return "".join(spans)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        PICTURE.write_text(picture(printed(Path(place))))
