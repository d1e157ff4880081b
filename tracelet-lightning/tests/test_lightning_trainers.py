"""Which trainings are captured; capture changes neither the training nor the Trainer."""

from __future__ import annotations

import copy
import importlib
import inspect
import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_nets import checkpoints, data, net, trainer

import tracelet_lightning
from tracelet.plugin import ArtifactType, Detection
from tracelet_lightning import handoff, sessions


def tuner_of(package: str, run: Any) -> Any:
    return importlib.import_module(f"{package}.tuner").Tuner(run)


def test_the_final_model_is_captured_at_the_end_of_every_fit(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    model = net(package)()
    for _ in range(2):
        trainer(package, tmp_path, enable_checkpointing=False).fit(model, data())
    kept = seen.of("model")
    assert [one.label for one in kept] == ["final", "final"]
    assert all(one.detection.model is model for one in kept)
    assert [one.said["global_step"] for one in kept] == [6, 6]
    assert kept[0].detection.name == f"lit-{'unified' if '.' in package else 'classic'}-model"


def test_one_trainer_that_fits_twice_is_captured_twice(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    run = trainer(package, tmp_path, max_epochs=1)
    model = net(package)()
    run.fit(model, data(), data())
    run.fit_loop.max_epochs = 2
    run.fit(model, data(), data())
    assert [one.kind for one in seen.all] == ["sample", "checkpoint", "model"] * 2
    assert [one.said["epoch"] for one in seen.of("sample")] == [0, 1]


def test_a_trainer_that_was_made_before_the_start_is_captured(package: str, tmp_path: Path, watching: Any) -> None:
    run = trainer(package, tmp_path, max_epochs=1)
    before = list(run.callbacks)
    seen = watching()
    run.fit(net(package)(), data(), data())
    assert [one.kind for one in seen.all] == ["sample", "checkpoint", "model"]
    assert run.callbacks == before


def test_a_package_that_is_imported_after_the_start_is_captured(package: str, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from tracelet_lightning import LightningSettings
from tracelet_lightning.detector import LightningDetector
seen = []
LightningDetector(LightningSettings(), Path("made")).start(seen.append)
assert not {{"torch", "lightning", "pytorch_lightning"}} & set(sys.modules)
sys.path.insert(0, {str(Path(__file__).parent)!r})
from lightning_nets import *
trainer({package!r}, ".", max_epochs=1).fit(net({package!r})(), data(), data())
print([one.type.value for one in seen])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['sample', 'checkpoint', 'model']"


def test_a_fast_dev_run_is_not_captured(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    run = trainer(package, tmp_path, fast_dev_run=True)
    run.fit(net(package)(), data(), data())
    run.save_checkpoint(tmp_path / "mine.ckpt")
    assert not seen.all


def test_tuners_are_not_captured_and_the_fit_after_them_is(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    run = trainer(package, tmp_path, max_epochs=1)
    model = net(package)()
    tuner_of(package, run).lr_find(model, data(), data(), num_training=5)
    assert not seen.all
    run.fit(model, data(), data())
    assert [one.kind for one in seen.all] == ["sample", "checkpoint", "model"]


def test_a_search_for_the_batch_size_is_not_captured(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    model = net(package)()
    model.batch_size = 2
    model.train_dataloader = model.val_dataloader = lambda: data()
    tuner_of(package, trainer(package, tmp_path)).scale_batch_size(model, max_trials=2, steps_per_trial=1)
    assert not seen.all


def test_a_learning_rate_finder_in_a_fit_is_not_captured_and_the_fit_is(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    finder = importlib.import_module(f"{package}.callbacks").LearningRateFinder(num_training_steps=5)
    trainer(package, tmp_path, max_epochs=1, callbacks=[finder]).fit(net(package)(), data(), data())
    assert [one.kind for one in seen.all] == ["sample", "checkpoint", "model"]
    assert seen.labels() == [(seen.of("checkpoint")[0].path.name, "periodic")]


def test_validate_test_and_predict_are_not_captured(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    run = trainer(package, tmp_path)
    model = net(package)()
    run.validate(model, data(), verbose=False)
    run.test(model, data(), verbose=False)
    assert not seen.all
    run.save_checkpoint(tmp_path / "mine.ckpt")
    assert seen.labels() == [("mine.ckpt", "manual")]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_what_was_saved_before_the_training_broke_off_is_captured_and_no_final_model(
    package: str, tmp_path: Path, watching: Any, kind: type[BaseException]
) -> None:
    seen = watching()
    model = net(package)()

    def break_off() -> None:
        if model.current_epoch == 1:
            raise kind("enough")

    model.on_train_epoch_start = break_off
    run = trainer(package, tmp_path, max_epochs=3)
    try:
        run.fit(model, data(), data())
    except (RuntimeError, SystemExit, KeyboardInterrupt):
        pass
    else:
        # Older releases end a fit in peace when it is interrupted.
        assert kind is KeyboardInterrupt
        assert run.interrupted
    assert [one.kind for one in seen.all] == ["sample", "checkpoint"]
    assert not model._forward_hooks
    assert len(run.callbacks) == 1
    assert seen.ends == [False]
    trainer(package, tmp_path).fit(net(package)(), data())
    assert seen.ends == [False, True]


def test_a_fit_that_has_no_module_fails_as_without_capture(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen = watching()
    run = trainer(package, tmp_path)
    before = list(run.callbacks)
    # What a child left is taken up however the fit ends.
    handoff.leave(sessions.active()[-1].handoff, Detection(path=Path(__file__), type=ArtifactType.CODE))
    with pytest.raises(TypeError, match="must be a `LightningModule`"):
        run.fit(torch.nn.Linear(1, 1), data())
    assert [record.getMessage() for record in caplog.records if record.name.startswith("tracelet")] == []
    assert [one.kind for one in seen.all] == ["code"]
    assert seen.ends == [False]
    assert run.callbacks == before


def test_a_subclass_of_the_trainer_is_captured(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()

    class Own(importlib.import_module(package).Trainer):
        def fit(self, *args: Any, **kwargs: Any) -> None:
            super().fit(*args, **kwargs)

    own = Own(max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    own.checkpoint_callback.dirpath = str(tmp_path)
    own.fit(net(package)(), data(), data())
    assert [one.kind for one in seen.all] == ["sample", "checkpoint", "model"]


def test_the_last_stop_takes_the_wrappers_off(package: str, tmp_path: Path, watching: Any) -> None:
    kind = importlib.import_module(package).Trainer
    call = importlib.import_module(f"{package}.trainer.call")
    before = kind.fit, kind.save_checkpoint, call._call_callback_hooks
    one, two = watching(), watching()
    assert kind.fit is not before[0]
    assert inspect.signature(kind.fit) == inspect.signature(before[0])
    one.detector.stop()
    assert kind.fit is not before[0]
    run = trainer(package, tmp_path, max_epochs=1)
    run.fit(net(package)(), data(), data())
    two.detector.stop()
    assert (kind.fit, kind.save_checkpoint, call._call_callback_hooks) == before
    assert not [name for name in vars(run) if "tracelet" in name]
    assert [len(one.all), len(two.all)] == [0, 3]
    run.save_checkpoint(tmp_path / "mine.ckpt")
    assert len(two.all) == 3


def test_another_library_may_wrap_the_trainer_meanwhile(
    package: str, tmp_path: Path, watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = importlib.import_module(package).Trainer
    for method in ("fit", "save_checkpoint"):
        monkeypatch.setattr(kind, method, vars(kind)[method])
    first = watching()
    for method in ("fit", "save_checkpoint"):
        inner = vars(kind)[method]
        setattr(kind, method, lambda self, *args, _inner=inner, **kwargs: _inner(self, *args, **kwargs))
    theirs = kind.fit
    first.detector.stop()
    assert kind.fit is theirs
    trainer(package, tmp_path, max_epochs=1).fit(net(package)(), data(), data())
    assert not first.all
    second = watching()
    trainer(package, tmp_path / "again", max_epochs=1).fit(net(package)(), data(), data())
    assert [one.kind for one in second.all] == ["sample", "checkpoint", "model"]
    assert not first.all


def test_two_detectors_see_the_same(package: str, tmp_path: Path, watching: Any) -> None:
    seen = [watching(), watching(samples_every_n_epochs=0)]
    saver = checkpoints(package, tmp_path / "c", filename="{epoch}")
    trainer(package, tmp_path, max_epochs=1, callbacks=[saver]).fit(net(package)(), data(), data())
    assert [[one.kind for one in keeper.all] for keeper in seen] == [
        ["sample", "checkpoint", "model"],
        ["checkpoint", "model"],
    ]


def test_losses_are_the_same_bit_for_bit(package: str, tmp_path: Path, watching: Any) -> None:
    def losses(folder: Path) -> list[float]:
        torch.manual_seed(3)
        random.seed(3)
        model = net(package)()
        model.net.insert(1, torch.nn.Dropout())
        seen: list[float] = []
        model.on_train_batch_end = lambda outputs, batch, index: seen.append(outputs["loss"].item())
        shuffled = torch.utils.data.DataLoader(data().dataset, batch_size=4, shuffle=True)
        run = trainer(package, folder, max_epochs=3)
        run.fit(model, shuffled, data())
        return [*seen, run.callback_metrics["val_loss"].item(), torch.rand(1).item(), random.random()]

    without = losses(tmp_path / "without")
    watching()
    assert losses(tmp_path / "with") == without
    assert len(without) == 21


def test_making_a_trainer_says_nothing_and_gives_it_no_callback(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    without = trainer(package, tmp_path)
    said = [record.getMessage() for record in caplog.records]
    watching()
    caplog.clear()
    assert len(trainer(package, tmp_path).callbacks) == len(without.callbacks)
    assert [record.getMessage() for record in caplog.records] == said
    assert tracelet_lightning.callbacks_factory() == []


def test_an_error_in_capture_is_one_warning_and_the_training_goes_on(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen = watching()

    class Odd(net(package)):
        @property
        def hparams(self) -> Any:
            if self.trainer_or_none() is not None:
                raise LookupError("not now")
            return super().hparams

        def trainer_or_none(self) -> Any:
            return self._trainer if inspect.stack()[2].function == "_hyperparameters" else None

    run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False)
    run.fit(Odd(), data())
    assert run.state.finished
    assert not seen.all
    warnings = [record for record in caplog.records if record.name == "tracelet.automagic"]
    assert [record.getMessage() for record in warnings] == ["the final model is not captured: LookupError: not now"]


def test_the_callbacks_are_what_the_user_made_them_while_it_fits(package: str, tmp_path: Path, watching: Any) -> None:
    watching()
    seen: list[list[Any]] = []

    class Looking(importlib.import_module(package).Callback):
        def setup(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            seen.append(list(trainer.callbacks))

        on_train_batch_end = on_validation_end = on_save_checkpoint = on_fit_end = setup

    run = trainer(package, tmp_path, max_epochs=1, callbacks=[checkpoints(package, tmp_path), Looking()])
    before = list(run.callbacks)
    assert type(before[0]) is Looking
    run.fit(net(package)(), data(), data())
    assert len(seen) > 5
    assert all(one == before for one in [*seen, run.callbacks])
    assert "Capture" not in repr(vars(run))


def test_a_trainer_that_is_copied_while_it_fits_is_captured_once_for_each_fit(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    copies: list[Any] = []

    class Copying(importlib.import_module(package).Callback):
        def setup(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            if not copies:
                copies.append(copy.deepcopy(trainer))

    run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False, callbacks=[Copying()])
    run.fit(net(package)(), data(), data())
    copies[0].fit(net(package)(), data(), data())
    assert [one.kind for one in seen.all] == ["sample", "model"] * 2
    assert seen.ends == [True, True]


def test_a_validation_that_a_callback_runs_in_a_fit_is_not_captured(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()

    class Validating(importlib.import_module(package).Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            trainer.fit_loop.epoch_loop.val_loop.run()

    run = trainer(package, tmp_path, check_val_every_n_epoch=3, enable_checkpointing=False, callbacks=[Validating()])
    run.fit(net(package)(), data(), data())
    assert run.callback_metrics["val_loss"] > 0
    assert [one.kind for one in seen.all] == ["model"]


def test_a_step_costs_one_small_call_of_ours_for_each_call_of_the_callbacks(
    package: str, tmp_path: Path, watching: Any
) -> None:
    def calls(steps: int) -> tuple[int, int]:
        """Count the calls of our functions, and of the function that calls the callbacks."""
        found = [0, 0]

        def count(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                found[0] += "tracelet" in str(frame.f_globals.get("__name__"))
                found[1] += frame.f_code.co_name == "_call_callback_hooks"

        run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False)
        model, batches = net(package)(), data(8 * steps)
        sys.setprofile(count)
        try:
            run.fit(model, batches)
        finally:
            sys.setprofile(None)
        return found[0], found[1]

    watching()
    few, many = calls(3), calls(5)
    ours, theirs = many[0] - few[0], many[1] - few[1]
    assert 0 < ours <= 3 * theirs


def test_a_checkpoint_holds_nothing_of_ours(package: str, tmp_path: Path, watching: Any) -> None:
    without = trainer(package, tmp_path / "without", max_epochs=1)
    without.fit(net(package)(), data())
    expected = torch.load(without.checkpoint_callback.best_model_path, weights_only=False)
    seen = watching()
    trainer(package, tmp_path, max_epochs=1).fit(net(package)(), data())
    state = torch.load(seen.of("checkpoint")[0].path, weights_only=False)
    assert state.keys() == expected.keys()
    assert state["callbacks"].keys() == expected["callbacks"].keys()
