"""What somebody does with the W&B SDK alone, in a process of its own: Tracelet has no part in it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

_HEARD: list[str] = []


def log_natively(
    project: str, name: str, kind: str, content: bytes, aliases: list[str] | None = None, algorithm: str = "MD5"
) -> str:
    """Log an artifact of one file; return its version."""
    import wandb

    source = Path("native.bin").absolute()
    source.write_bytes(content)
    run = wandb.init(project=project, reinit="create_new")
    artifact = wandb.Artifact(name, type=kind, digest_algorithm=algorithm)
    artifact.add_file(str(source), "native.bin")
    version = str(run.log_artifact(artifact, aliases=aliases or []).wait().version)
    run.finish()
    return version


def edit(path: str, *, metadata: dict[str, Any] | None = None, aliases: tuple[str, ...] = ()) -> None:
    """Change a version's metadata, or give it aliases, as the web page or the API does."""
    import wandb

    artifact = wandb.Api().artifact(path)
    if metadata is not None:
        artifact.metadata = metadata
    artifact.aliases.extend(aliases)
    artifact.save()


def edit_run(path: str, config: dict[str, Any]) -> None:
    """Change values of a run's configuration, as the API does."""
    import wandb

    run = wandb.Api().run(path)
    run.config.update(config)
    run.update()


def config_of(path: str) -> dict[str, Any]:
    """Return a run's configuration."""
    import wandb

    return dict(wandb.Api().run(path).config)


def link(path: str, portfolio: str, aliases: list[str]) -> None:
    """Link a version to a portfolio, as the web page or the API does."""
    import wandb

    wandb.Api().artifact(path).link(portfolio, aliases)


def state_of(path: str) -> str:
    """Return the state of a version that the server still finds."""
    import wandb

    return str(wandb.Api().artifact(path).state)


def look(path: str) -> dict[str, Any]:
    """Return what the SDK shows of a version."""
    import wandb

    artifact = wandb.Api().artifact(path)
    entries = artifact.manifest.entries
    return {
        "type": artifact.type,
        "version": artifact.version,
        "aliases": sorted(artifact.aliases),
        "description": artifact.description,
        "metadata": artifact.metadata,
        "files": sorted(name for name, entry in entries.items() if entry.ref is None),
        "references": {name: (entry.ref, entry.size) for name, entry in entries.items() if entry.ref},
        "run": artifact.logged_by().id,
    }


def download(path: str, dest: Path) -> dict[str, bytes]:
    """Download a version as the SDK does; return its files."""
    import wandb

    folder = Path(wandb.Api().artifact(path).download(root=str(dest)))
    return {found.relative_to(folder).as_posix(): found.read_bytes() for found in folder.rglob("*") if found.is_file()}


def poison_cache(good: bytes, bad: bytes) -> int:
    """Replace content in the SDK's own cache; return in how many places."""
    import wandb

    changed = 0
    for path in (Path(wandb.env.get_cache_dir()) / "artifacts" / "obj").rglob("*"):
        if path.is_file() and path.read_bytes() == good:
            path.write_bytes(bad)
            changed += 1
    return changed


def staged() -> list[str]:
    """Return the copies in the SDK's staging folder."""
    import wandb

    return sorted(str(path) for path in (Path(wandb.env.get_data_dir()) / "artifacts" / "staging").glob("*"))


def log_study(project: str) -> dict[str, str]:
    """Log two versions of a data set in one run, and in another a model, a table and its code; return the runs' ids."""
    import wandb
    from PIL import Image

    Path("study").mkdir(exist_ok=True)
    for name in ("train.csv", "test.csv", "deep.csv"):
        Path("study", name).write_text(f"{name}\n1,2\n")
    Path("study", "run.py").write_text("print(1)\n")
    ids = {}
    with wandb.init(project=project, reinit="create_new", config={"lr": 0.1, "layers": [8, 4]}) as run:
        ids["data"] = run.id
        for number in range(2):
            data = wandb.Artifact(
                "data", "dataset", description="two tables", metadata={"rows": number, "by": {"a": 1}}
            )
            data.add_file("study/train.csv")
            data.add_file("study/deep.csv", "in/folder/deep.csv")
            if number:
                data.add_file("study/test.csv")
                data.add_reference("s3://bucket/far.bin", "far.bin", checksum=False)
            run.log_artifact(data, aliases=["golden"] if number else ["first", "old"]).wait()
    with wandb.init(project=project, reinit="create_new", config={"depth": 3}) as run:
        ids["model"] = run.id
        used = run.use_artifact("data:golden")
        run.use_artifact("data:first")
        run.define_metric("loss", summary="min,last")
        run.log({"loss": 2.0, "acc": 0.5})
        run.log({"loss": 1.0, "acc": 0.75, "word": "good"})
        run.log({"picture": wandb.Image(Image.new("L", (2, 2)))})
        run.log({"scores": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])})
        Path("weights.bin").write_bytes(b"weights" * 100)
        model = wandb.Artifact("net", "model")
        model.add_file("weights.bin")
        model.add_reference(used.get_entry("train.csv"), "trained/on.csv")
        model.add_reference(used.get_entry("train.csv"), "again.csv")
        run.log_artifact(model, aliases=["best"], tags=["reviewed"]).wait()
        code = run.log_code("study")
        assert code is not None
        code.wait()
    return ids


def delete(path: str) -> None:
    """Delete a version, as the web page or the API does."""
    import wandb

    wandb.Api().artifact(path).delete(delete_aliases=True)


def log_file(project: str, name: str, kind: str, *paths: str) -> None:
    """Log an artifact of small files at these paths."""
    import wandb

    source = Path("small.bin").absolute()
    source.write_bytes(b"small")
    with wandb.init(project=project, reinit="create_new") as run:
        artifact = wandb.Artifact(name, kind)
        for path in paths:
            artifact.add_file(str(source), path)
        run.log_artifact(artifact).wait()


def log_held(project: str, name: str, path: str, file: str) -> None:
    """Log an artifact whose only file another version holds."""
    import wandb

    with wandb.init(project=project, reinit="create_new") as run:
        artifact = wandb.Artifact(name, "model")
        artifact.add_reference(wandb.Api().artifact(path).get_entry(file), file)
        run.log_artifact(artifact).wait()


def log_as_w_and_b_does(project: str) -> None:
    """Log what W&B makes of a run by itself, and an artifact of the type that it gives to a table that grows."""
    import wandb
    from wandb.sdk.artifacts._internal_artifact import InternalArtifact

    source = Path("small.bin").absolute()
    source.write_bytes(b"small")
    with wandb.init(project=project, reinit="create_new") as run:
        kinds = {"job-of-it": "job", "history-of-it": "wandb-history", "run-incr-rows": "wandb-run-incremental-table"}
        for name, kind in kinds.items():
            artifact = InternalArtifact(name, kind)
            artifact.add_file(str(source), "small.bin")
            run.log_artifact(artifact).wait()


def peak() -> int:
    """Return the most bytes of memory that this process has had, with those of files that it maps."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


def listen() -> None:
    """Keep what is said of an import in this process from now on."""
    _HEARD.clear()
    listener = logging.Handler()
    listener.emit = lambda record: _HEARD.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("tracelet.import").handlers = [listener]


def heard() -> list[str]:
    """Return what was said since."""
    return list(_HEARD)
