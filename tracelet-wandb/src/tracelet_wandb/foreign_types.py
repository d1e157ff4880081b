"""Which type of artifact becomes of which of W&B's, and which artifacts W&B makes by itself."""

from __future__ import annotations

from collections.abc import Collection

from tracelet.plugin import ArtifactType, tell_type_by_names

__all__ = ["becomes", "is_made_by_wandb"]

#: A table that was logged with ``log_mode="INCREMENTAL"``: the only type of W&B's own prefix that a user logs.
_INCREMENTAL = "wandb-run-incremental-table"
#: The words of W&B's users for a type, in the singular, beside those that are ours as well.
_WORDS = {
    ArtifactType.MODEL: "models model_version registered_model",
    ArtifactType.CHECKPOINT: "ckpt checkpoints model_checkpoint",
    ArtifactType.DATASET: "data datasets raw_data raw_dataset train_data training_data processed_data split_data",
    ArtifactType.SAMPLE: f"samples prediction predictions table tables run_table {_INCREMENTAL}",
    ArtifactType.IMAGE: "images picture pictures",
    ArtifactType.AUDIO: "sound sounds",
    ArtifactType.VIDEO: "videos",
    ArtifactType.VISUALIZATION: "plot plots figure figures chart charts visualisation visualizations",
    ArtifactType.REPORT: "reports",
    ArtifactType.CONFIG: "configs configuration",
    ArtifactType.CODE: "source source_code",
}
_BY_WORD = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_BY_WORD |= {kind.value: kind for kind in ArtifactType if kind is not ArtifactType.CUSTOM}


def becomes(kind: str, paths: Collection[str]) -> ArtifactType:
    """Return the type that W&B's type says, or else the names of the files."""
    told = kind.casefold() if kind == _INCREMENTAL else kind.casefold().replace("-", "_").replace(" ", "_")
    return _BY_WORD.get(told) or tell_type_by_names(paths)


def is_made_by_wandb(kind: str) -> bool:
    """Tell whether nobody logs artifacts of this type.

    A job is made of a run's code and its requirements; with the prefix ``wandb-`` the server keeps histories and the like.
    ``run_table`` and ``code`` are what users log as tables and with ``log_code``: these are no such types.
    """
    return kind == "job" or (kind.startswith("wandb-") and kind != _INCREMENTAL)
