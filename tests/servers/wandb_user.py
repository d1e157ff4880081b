"""What somebody does with the W&B SDK alone, in a process of its own: Tracelet has no part in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
