"""What errors say: whatever is wrong with an argument, it is one of Tracelet's own, in whole sentences, and says what to do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import COMMAND, environment

from tracelet import ArtifactType, Experiment, ExperimentConfig, LoggedArtifact, TraceletArtifact
from tracelet.exceptions import ArtifactError, TraceletError
from tracelet.settings import TraceletSettings

#: What somebody may give where something else is meant.
ODD = [
    None, 3, 1.2, True, b"x", ["x"], {"a": 1}, object(), Path("f.txt"), "", " ", "..", ".", "a/b", "../x", "x" * 300,
    "a\ud800b", "a\0b", "a\nb", "é", "v3", "latest",
]  # fmt: skip


class Trial:
    """An experiment with one artifact in it."""

    def __init__(self, exp: Experiment) -> None:
        self.exp = exp
        made = exp.create_artifact("data", ArtifactType.DATASET).add_object({"a": 1}, "o").add_file("f.txt")
        exp.log_artifact(made, version="release", aliases=["best"])
        self.stored: LoggedArtifact = exp.get_artifact("data")

    def new(self) -> TraceletArtifact:
        return self.exp.create_artifact("n", ArtifactType.CONFIG)

    def filled(self, **metadata: Any) -> TraceletArtifact:
        artifact = self.new().add_object(1, "o")
        artifact.metadata.update(metadata)
        return artifact


@pytest.fixture
def trial(home: Path) -> Iterator[Trial]:
    (home / "f.txt").write_text("x")
    (home / "d").mkdir()
    (home / "d" / "g.txt").write_text("x")
    with Experiment("messages", artifacts=True) as exp:
        yield Trial(exp)


CALLS: dict[str, Callable[[Trial, Any], object]] = {
    "Experiment(name)": lambda trial, odd: Experiment(odd, artifacts=True),
    "Experiment(backend)": lambda trial, odd: Experiment("x", backend=odd),
    "Experiment(routing)": lambda trial, odd: Experiment("x", routing=odd),
    "Experiment(config)": lambda trial, odd: Experiment("x", config=odd),
    "Experiment(settings)": lambda trial, odd: Experiment("x", settings=odd),
    "Experiment(artifacts)": lambda trial, odd: Experiment("x", artifacts=odd),
    "create_artifact(name)": lambda trial, odd: trial.exp.create_artifact(odd, ArtifactType.CONFIG),
    "create_artifact(type)": lambda trial, odd: trial.exp.create_artifact("n", odd),
    "create_artifact(description)": lambda trial, odd: trial.exp.create_artifact("n", ArtifactType.CONFIG, odd),
    "add_file(local_path)": lambda trial, odd: trial.new().add_file(odd),
    "add_file(artifact_path)": lambda trial, odd: trial.new().add_file("f.txt", odd),
    "add_file(description)": lambda trial, odd: trial.new().add_file("f.txt", description=odd),
    "add_dir(local_path)": lambda trial, odd: trial.new().add_dir(odd),
    "add_dir(artifact_path)": lambda trial, odd: trial.new().add_dir("d", odd),
    "add_object(name)": lambda trial, odd: trial.new().add_object({}, odd),
    "add_object(serializer)": lambda trial, odd: trial.exp.log_artifact(trial.new().add_object({}, "o", odd)),
    "add_model(model)": lambda trial, odd: trial.exp.log_artifact(trial.new().add_model(odd)),
    "add_model(framework)": lambda trial, odd: trial.exp.log_artifact(trial.new().add_model(object(), odd)),
    "add_model(name)": lambda trial, odd: trial.new().add_model(object(), name=odd),
    "add_reference(uri)": lambda trial, odd: trial.new().add_reference(odd),
    "add_reference(size_bytes)": lambda trial, odd: trial.new().add_reference("s3://bucket/key", size_bytes=odd),
    "metadata": lambda trial, odd: trial.exp.log_artifact(trial.filled(key=odd)),
    "preferred_backends": lambda trial, odd: trial.exp.log_artifact(trial.filled(preferred_backends=odd)),
    "force_reference": lambda trial, odd: trial.exp.log_artifact(trial.filled(force_reference=odd)),
    "log_artifact(artifact)": lambda trial, odd: trial.exp.log_artifact(odd),
    "log_artifact(version)": lambda trial, odd: trial.exp.log_artifact(trial.filled(), version=odd),
    "log_artifact(aliases)": lambda trial, odd: trial.exp.log_artifact(trial.filled(), aliases=odd),
    "log_artifact(an alias)": lambda trial, odd: trial.exp.log_artifact(trial.filled(), aliases=[odd]),
    "submit_artifact(artifact)": lambda trial, odd: trial.exp.submit_artifact(odd),
    "flush(timeout)": lambda trial, odd: trial.exp.flush(odd),
    "get_artifact(name)": lambda trial, odd: trial.exp.get_artifact(odd),
    "get_artifact(version)": lambda trial, odd: trial.exp.get_artifact("data", odd),
    "get_artifact(backend)": lambda trial, odd: trial.exp.get_artifact("data", backend=odd),
    "use_artifact(name)": lambda trial, odd: trial.exp.use_artifact(odd),
    "list_artifacts(type)": lambda trial, odd: trial.exp.list_artifacts(odd),
    "list_artifacts(backend)": lambda trial, odd: trial.exp.list_artifacts(backend=odd),
    "download(dest)": lambda trial, odd: trial.stored.download(odd),
    "download(paths)": lambda trial, odd: trial.stored.download("there", paths=odd),
    "download(a path)": lambda trial, odd: trial.stored.download("there", paths=[odd]),
    "open(path)": lambda trial, odd: trial.stored.open(odd),
    "load_object(name)": lambda trial, odd: trial.stored.load_object(odd),
    "load_model(name)": lambda trial, odd: trial.stored.load_model(odd),
    **{
        f"TraceletSettings({field})": lambda trial, odd, field=field: TraceletSettings(**{field: odd})
        for field in ("dir", "store", "large_file_mb", "on_large", "deadline", "stop_timeout", "strict", "rank")
    },
    **{
        f"ExperimentConfig({field})": lambda trial, odd, field=field: Experiment(
            "x", config=ExperimentConfig(**{field: odd})
        )
        for field in ("artifact_watch_dirs", "capture_include", "capture_disk_share", "capture_min_interval")
    },
}


def faults(said: str) -> list[str]:
    """What is wrong with the form of a message; what it quotes is somebody else's."""
    own = re.sub(r"'[^']*'|\"[^\"]*\"", "''", said)
    rules = {
        "it does not end as a sentence does": not said.endswith((".", "?")),
        "two full stops": re.search(r"(?<!\.)\.\.(?!\.)", own),
        "two spaces": "  " in own,
        "the name of an exception": re.search(r"\b\w+Error\b", own),
        "a full stop after a bracket that closes on a quoted dot": "'..')" in said,
        "it goes on for ever": len(said) > 1000,
        "it does not say what to do": len(said.split()) < 4,
    }
    return [rule for rule, broken in rules.items() if broken]


@pytest.mark.parametrize("call", CALLS)
def test_whatever_an_argument_is_it_is_taken_or_refused_in_plain_words(trial: Trial, call: str) -> None:
    wrong: dict[str, object] = {}
    for odd in ODD:
        try:
            CALLS[call](trial, odd)
        except TraceletError as error:
            if faults(str(error)):
                wrong[repr(odd)] = faults(str(error)), str(error)
    assert not wrong


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"], ["get", "messages"], ["get", "messages", ".."], ["get", "messages", "a/b"], ["get", "messages", "dat"],
        ["get", "messages", "data", "v7"], ["get", "messages", "data", "??"], ["get", "messages", "data", "--path", "no"],
        ["get", "messages", "data", "--backend", "nowhere"], ["get", "other", "data"], ["get", "messages", "data", "-o", "f.txt"],
        ["ls"], ["ls", ""], ["ls", "other", "--backend", "nowhere"], ["ls", "messages", "--type", "modell"],
        ["gc", "--older-than", "soon"], ["gc", "--older-than", "1s"], ["sync", "--dir", "nowhere"], ["sync", "x"],
        ["doctor", "--backend", "nowhere", "--json", "--no"], ["nonsense"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_command_says_what_is_wrong_in_one_line_and_in_plain_words(trial: Trial, arguments: list[str]) -> None:
    done = subprocess.run([COMMAND, *arguments], env=environment(), capture_output=True, text=True, timeout=180)
    assert done.returncode in {1, 2}
    (line,) = (done.stderr or done.stdout).splitlines()
    assert not faults(line)


@pytest.mark.parametrize("label", [1.2, 3])
def test_a_number_for_a_label_is_told_from_bad_characters(trial: Trial, label: Any) -> None:
    with pytest.raises(ArtifactError, match=re.escape(f"label {label} is a number, and not text: say '{label}'")):
        trial.exp.log_artifact(trial.filled(), version=label)
    with pytest.raises(ArtifactError, match="is a number, and not text"):
        trial.exp.get_artifact("data", label)
