"""Log what the scripts beside this one ask about: five versions of a data set, and models that were trained on them.

python make_versions.py [BACKEND]
"""

from __future__ import annotations

import sys
from pathlib import Path

from tracelet import Experiment


def main(backend: str = "local") -> None:
    """Log the versions; the models' accuracy is highest in the fourth of five."""
    accuracies = (0.71, 0.84, 0.88, 0.93, 0.9)
    for number, accuracy in enumerate(accuracies):
        with Experiment("digits", backend=backend, artifacts=True) as exp:
            rows = "".join(f"{row},{row % 10}\n" for row in range(100 * (number + 1)))
            Path("rows.csv").write_text("pixel,digit\n" + rows)
            data = exp.create_artifact("rows", "dataset").add_file("rows.csv")
            if number == 4:
                Path("readme.txt").write_text("Digits of 8 x 8 pixels.")
                data.add_file("readme.txt")
            exp.log_artifact(data)
            exp.use_artifact("rows")
            Path("weights.bin").write_bytes(bytes([number]) * 100_000)
            model = exp.create_artifact("classifier", "model").add_file("weights.bin")
            model.metadata.update({"metrics": {"accuracy": accuracy}, "epochs": number + 1})
            exp.log_artifact(model, aliases=["production"] if number == 1 else [])


if __name__ == "__main__":
    main(*sys.argv[1:])
