"""Programs of users of Aim through Tracelet."""

from __future__ import annotations

#: What every program begins with.
HEAD = """
import json, os, sys, time
from tracelet import ArtifactType, Experiment, ExperimentConfig

def made(exp, name="model", type=ArtifactType.MODEL, metadata=None, **files):
    artifact = exp.create_artifact(name, type)
    artifact.metadata.update(metadata or {})
    for path, content in files.items():
        with open(path, "wb") as stream:
            stream.write(content)
        artifact.add_file(path)
    return artifact

def opened(name="trials", **limits):
    pace = float(os.environ["TEST_PACE"])
    config = ExperimentConfig(**{limit: seconds * pace for limit, seconds in limits.items()})
    return Experiment(name, backend="aim", artifacts=True, config=config)
"""
#: Logs one artifact; what became of it, whether it waits, and the seconds until then and until the end.
LOG_ONE = """
began = time.monotonic()
exp = opened(deadline=15.0, open_timeout=15.0, stop_timeout=5.0).start()
results = exp.log_artifact(made(exp, weights=b"1" * 1000))
logged = time.monotonic() - began
exp.stop()
told = {name: [type(error).__name__, str(error)] for name, error in {**results.queued, **results.failed}.items()}
done = [told.get("aim"), "aim" in results.queued, logged, time.monotonic() - began]
print(json.dumps(done))
"""
#: Delivers what waits; how much is left, and every version with its content.
FINISH = """
exp = opened().start()
left = exp.flush(600)
exp.stop()
print(json.dumps([left, [[one.version, open(one.download() / "weights").read()] for one in exp.list_artifacts()]]))
"""
#: What FINISH says after LOG_ONE.
DELIVERED = [0, [["v0", "1" * 1000]]]
