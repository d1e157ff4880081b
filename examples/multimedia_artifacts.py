"""Pictures, sound, video and plots, where they show best: ``python examples/multimedia_artifacts.py``.

It logs to W&B and Aim if their distributions are installed, else to the embedded backend. Without an account W&B works
offline; Aim's repo is made in the current folder, and ``aim up`` shows it. It needs matplotlib, which brings Pillow.
"""

from __future__ import annotations

import importlib.util
import math
import os
import struct
import tempfile
import wave
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tracelet import ArtifactType, Experiment, TraceletArtifact

RATE = 8_000
SIZE = 64


def picture(path: Path, turn: int = 0) -> Path:
    image = Image.new("RGB", (SIZE, SIZE))
    for x in range(SIZE):
        for y in range(SIZE):
            image.putpixel((x, y), (4 * ((x + turn) % SIZE), 4 * y, 128))
    image.save(path)
    return path


def tone(path: Path, hertz: float) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        samples = (int(20_000 * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(RATE))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path


def film(path: Path, folder: Path) -> Path:
    frames = [Image.open(picture(folder / f"frame-{turn}.png", turn)) for turn in range(0, SIZE, 8)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
    return path


def plot(path: Path) -> Path:
    figure = Figure(figsize=(4, 3))
    axes = FigureCanvasAgg(figure).figure.subplots()
    axes.plot([1 / (epoch + 1) for epoch in range(20)])
    axes.set(xlabel="epoch", ylabel="loss")
    figure.savefig(path)
    return path


def artifacts(exp: Experiment, folder: Path) -> list[TraceletArtifact]:
    attention = exp.create_artifact("attention", ArtifactType.IMAGE, "Where the model looks")
    speech = exp.create_artifact("speech", ArtifactType.AUDIO, "One second at 440 Hz")
    rollout = exp.create_artifact("rollout", ArtifactType.VIDEO, "Eight frames")
    curve = exp.create_artifact("loss", ArtifactType.VISUALIZATION, "Loss by epoch")
    return [
        attention.add_file(picture(folder / "attention.png"), description="The first head"),
        speech.add_file(tone(folder / "speech.wav", 440.0)),
        rollout.add_file(film(folder / "rollout.gif", folder)),
        curve.add_file(plot(folder / "loss.png")),
    ]


def main() -> None:
    os.environ.setdefault("WANDB_MODE", "offline")
    backends = [name for name in ("wandb", "aim") if importlib.util.find_spec(f"tracelet_{name}")] or ["local"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Experiment("multimedia", backend=backends, artifacts=True) as exp,
    ):
        for artifact in artifacts(exp, Path(folder)):
            # By its type it would go to W&B alone; both show it well.
            artifact.metadata["preferred_backends"] = backends
            results = exp.log_artifact(artifact)
            results.raise_for_errors()
            for backend, result in results.items():
                state = ", on this machine so far" if result.pending else ""
                print(f"{backend} has {artifact.name} {result.version}: {result.size_bytes:,} bytes{state}")

    exp = Experiment("multimedia", backend=backends, artifacts=True)
    for backend in backends:
        for artifact in sorted(exp.list_artifacts(backend=backend), key=lambda one: one.name):
            files = [path.name for path in artifact.download().rglob("*") if path.is_file()]
            print(f"{backend} gave back {artifact.name} ({artifact.type.value}): {', '.join(files)}")


if __name__ == "__main__":
    main()
