"""Checkpoints of transformers' ``Trainer``, and of those that inherit from it: a callback of ours sees each complete."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from tracelet.builtin.saves.destinations import folder_destination, logger
from tracelet.builtin.saves.naming import class_name
from tracelet.builtin.saves.watching import Tell, guarded
from tracelet.builtin.saves.what import LAST, What
from tracelet.plugin import ArtifactType, Claim, plain_data, saving

__all__ = ["TRAININGS", "Training"]


@attrs.frozen(eq=False)
class Training:
    """A method that trains, and saves checkpoints meanwhile."""

    switch: str
    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], tell: Tell) -> Any:
        """Train with a callback of ours, which nobody finds in the trainer afterwards."""
        trainer = args[0]
        watched = guarded(self, _watched, trainer, tell)
        if watched is None:
            return original(*args, **kwargs)
        with watched:
            return original(*args, **kwargs)


def _watched(trainer: Any, tell: Tell) -> contextlib.AbstractContextManager[None] | None:
    """Return the time in which a trainer has our callback; None in processes that save no checkpoints for the others."""
    if not trainer.is_world_process_zero():
        logger.debug("this process is not the first of the training: the first captures its checkpoints.")
        return None
    return _with_callback(trainer, _Checkpoints(trainer, tell))


@contextlib.contextmanager
def _with_callback(trainer: Any, checkpoints: _Checkpoints) -> Iterator[None]:
    callback = guarded("the training", _callback, checkpoints)
    if callback is not None:
        trainer.add_callback(callback)
    try:
        yield
    finally:
        checkpoints.release()
        if callback is not None:
            with contextlib.suppress(ValueError):  # the user has taken it out
                trainer.remove_callback(callback)


def _callback(checkpoints: _Checkpoints) -> Any:
    """Make a callback of the library's own kind, whose methods raise nothing."""
    hooks: dict[str, Callable[[Any, Any], None]] = {
        "on_step_begin": lambda state, metrics: checkpoints.release(),
        "on_step_end": lambda state, metrics: checkpoints.claim(state),
        "on_evaluate": lambda state, metrics: checkpoints.note(state, metrics),
        "on_save": lambda state, metrics: checkpoints.tell(state),
    }
    base = import_module("transformers.trainer_callback").TrainerCallback
    return type("TraceletCapture", (base,), {name: _hook(work) for name, work in hooks.items()})()


def _hook(work: Callable[[Any, Any], None]) -> Callable[..., None]:
    def hook(callback: Any, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        guarded("a checkpoint of this training", work, state, metrics)

    return hook


class _Checkpoints:
    """The checkpoints of one training.

    What is saved into the folder of the step that has just ended is part of a checkpoint, until that is complete or the
    next step begins.
    """

    def __init__(self, trainer: Any, tell: Tell) -> None:
        self._trainer = trainer
        self._tell = tell
        self._claim = Claim()
        self._metrics: dict[str, Any] = {}
        self._evaluated = -1

    def _folder(self, state: Any) -> Path:
        # A search for hyperparameters has a folder for each trial, which nothing public names.
        where = getattr(self._trainer, "_get_output_dir", None)
        trial = getattr(self._trainer, "_trial", None)
        root = where(trial=trial) if where is not None and trial is not None else self._trainer.args.output_dir
        return Path(root, f"checkpoint-{state.global_step}")

    def claim(self, state: Any) -> None:
        self._claim.take(self._folder(state))

    def release(self) -> None:
        self._claim.release()

    def note(self, state: Any, metrics: Any) -> None:
        # Each of several data sets of an evaluation is told of by itself.
        before = self._metrics if self._evaluated == state.global_step else {}
        self._metrics, self._evaluated = {**before, **(metrics or {})}, state.global_step

    def tell(self, state: Any) -> None:
        destination = folder_destination(self._folder(state))
        if destination is None or not destination.complete():
            return
        with saving(destination.path):
            self.release()
            self._tell(destination, self._what(state, destination.path))

    def _what(self, state: Any, folder: Path) -> What:
        best = state.best_model_checkpoint
        is_best = best is not None and Path(best).absolute() == folder.absolute()
        metadata = {
            "global_step": state.global_step,
            "epoch": state.epoch,
            "metrics": self._metrics or None,
            "best_metric": state.best_metric,
            "framework": f"transformers {import_module('transformers').__version__}",
        }
        return What(
            ArtifactType.CHECKPOINT,
            {key: plain_data(value) for key, value in metadata.items() if value is not None},
            # What `torch.compile` makes of a model has the class of all that it makes.
            class_name(type(getattr(self._trainer.model, "_orig_mod", self._trainer.model))),
            ("best", *LAST) if is_best else LAST,
        )


TRAININGS = (Training("transformers", "transformers.trainer", "Trainer.train"),)
