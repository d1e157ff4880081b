"""What there is to copy, and what is told of it afterwards: programs of the users on both sides."""

from __future__ import annotations

#: Two runs make twelve versions of four names; the picture's third version has the content of its first. `LARGE` are the bytes of
#: the largest file of each run.
MAKE = """
import numpy as np, pandas as pd
from PIL import Image
from pathlib import Path
from sklearn.linear_model import LogisticRegression
from tracelet import Experiment

def logged(exp, artifact, **labels):
    exp.log_artifact(artifact, **labels).raise_for_errors()

table = pd.DataFrame({"pixel": range(40), "digit": [one % 10 for one in range(40)]})
for lot in range(2):
    with Experiment("digits", backend="local", artifacts=True) as exp:
        rows = exp.create_artifact("rows", "dataset", "What it learns from").add_object(table[: 20 * (lot + 1)], "table", "csv")
        rows.metadata.update({"rows": 20 * (lot + 1), "loss": float("nan"), "from": {"where": ["a", "ä"], "none": None}})
        logged(exp, rows, version=f"2024.{lot}", aliases=["newest", *["reviewed"] * (lot == 0)])
        exp.use_artifact("rows", "reviewed")
        for step in range(2):
            model = LogisticRegression().fit(table[["pixel"]].to_numpy(), table["pixel"] > 10 * (lot + step + 1))
            net = exp.create_artifact("net", "model", "It tells digits").add_model(model, "sklearn", np.array([[3.0]]))
            net.metadata["metrics"] = {"accuracy": 0.8 + 0.05 * lot + 0.01 * step}
            logged(exp, net, aliases=["production"] if lot == step else [])
            Image.new("RGB", (8, 8), (0, 100 * step, 0)).save("picture.png")
            logged(exp, exp.create_artifact("picture", "image").add_file("picture.png", "what/it is.png"))
            exp.use_artifact("net")
        Path("weights.bin").write_bytes(bytes([lot, 1, 2, 3]) * (LARGE[lot] // 4))
        weights = exp.create_artifact("weights", "checkpoint").add_file("weights.bin")
        logged(exp, weights.add_reference("s3://bucket/rest", 7), version=f"run-{lot}")
"""

#: Prints all that is to come over of each version of `PLACES`, oldest first, by backend and experiment; every byte is read.
TELL = """
import json
from tracelet import Experiment

kept = ("name", "type", "number", "label", "digest", "created_at", "run_id", "inputs", "metadata", "description", "pending")
told = {}
for backend, experiment in PLACES:
    exp = Experiment(experiment, backend=backend, artifacts=True)
    told[f"{backend} {experiment}"] = found = []
    for one in exp.list_artifacts()[::-1]:
        verified, said = one.verify(), one.to_dict()
        found.append({
            **{key: said[key] for key in kept},
            "aliases": sorted(one.aliases),
            "latest": exp.get_artifact(one.name).number == one.number,
            "files": sorted([file.artifact_path, file.size_bytes, file.sha256] for file in (*one.manifest.payload, *one.manifest.stored)),
            "elsewhere": [[file.uri, file.size_bytes] for file in one.references if file.path is None],
            "whole": [verified.ok, verified.files, verified.size_bytes],
        })
print(json.dumps(told))
"""

#: Logs a model that is in a form which runs code when it is loaded.
MAKE_UNSAFE = """
import operator
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tracelet import Experiment

given = np.arange(40.0).reshape(-1, 1)
model = make_pipeline(FunctionTransformer(operator.neg), LogisticRegression()).fit(given, given[:, 0] > 10)
with Experiment("own", backend="local", artifacts=True) as exp:
    exp.log_artifact(exp.create_artifact("turned", "model").add_model(model, "sklearn", given[:2])).raise_for_errors()
"""
