"""Checkpoints: each is captured once, as it was saved, with the aliases that its saver gives it."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_nets import checkpoints, data, net, trainer


def step_of(path: Path | None) -> int:
    assert path is not None
    return torch.load(path, weights_only=False)["global_step"]


def test_best_last_periodic_and_manual_are_captured_once_each(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    saver = checkpoints(package, tmp_path / "c", monitor="val_loss", save_top_k=2, save_last=True)
    every = checkpoints(package, tmp_path / "p", every_n_train_steps=2, filename="p{step}", save_top_k=-1)
    run = trainer(package, tmp_path, callbacks=[saver, every])
    run.fit(net(package)(), data(), data())
    run.save_checkpoint(tmp_path / "mine.ckpt")
    assert Counter(seen.labels()) == Counter(
        {
            ("epoch=0-step=3.ckpt", "best"): 1,
            ("epoch=1-step=6.ckpt", "best"): 1,
            ("last.ckpt", "last"): 2,
            ("pstep=2.ckpt", "periodic"): 1,
            ("pstep=4.ckpt", "periodic"): 1,
            ("pstep=6.ckpt", "periodic"): 1,
            ("mine.ckpt", "manual"): 1,
        }
    )
    assert {one.detection.name for one in seen.of("checkpoint")} == {
        f"lit-{'unified' if '.' in package else 'classic'}-checkpoint"
    }
    for one in seen.of("checkpoint"):
        assert one.detection.artifact_path == one.path.name
        assert step_of(one.path) == one.said["global_step"]


def test_what_save_top_k_deletes_is_kept(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    saver = checkpoints(package, tmp_path / "c", monitor="val/gap", save_top_k=1, filename="{epoch}")
    trainer(package, tmp_path, max_epochs=3, callbacks=[saver]).fit(net(package)(), data(), data())
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["epoch=2.ckpt"]
    assert [step_of(one.path) for one in seen.of("checkpoint")] == [3, 6, 9]
    assert [one.said["score"] for one in seen.of("checkpoint")] == [0.0, -1.0, -2.0]


def test_a_checkpoint_that_is_among_the_top_but_not_the_best_is_periodic(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    saver = checkpoints(package, tmp_path / "c", monitor="val/gap", mode="max", save_top_k=2, filename="{epoch}")
    trainer(package, tmp_path, callbacks=[saver]).fit(net(package)(), data(), data())
    assert seen.labels() == [("epoch=0.ckpt", "best"), ("epoch=1.ckpt", "periodic")]


def test_without_a_monitor_nothing_is_best(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    trainer(package, tmp_path).fit(net(package)(), data(), data())
    assert [label for _, label in seen.labels()] == ["periodic", "periodic"]


def test_several_monitors_have_a_best_each_and_the_first_is_the_best(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    savers = [
        checkpoints(package, tmp_path / "a", monitor="val_loss", filename="a"),
        checkpoints(package, tmp_path / "b", monitor="val/gap", filename="b"),
    ]
    trainer(package, tmp_path, max_epochs=1, callbacks=savers).fit(net(package)(), data(), data())
    assert seen.labels() == [("a.ckpt", "best,best-val_loss"), ("b.ckpt", "best-val-gap")]


def test_last_as_a_link_is_an_alias_of_the_checkpoint_it_links_to(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    saver = checkpoints(package, tmp_path / "c", monitor="val/gap", save_top_k=-1, save_last="link", filename="{epoch}")
    trainer(package, tmp_path, callbacks=[saver]).fit(net(package)(), data(), data())
    last = tmp_path / "c" / "last.ckpt"
    if hasattr(saver, "_link_checkpoint"):
        assert last.resolve().name == "epoch=1.ckpt"
        assert seen.labels() == [("epoch=0.ckpt", "best,last"), ("epoch=1.ckpt", "best,last")]
    else:
        # Older releases do not know links, and save a file.
        assert not last.is_symlink()
        assert [label for _, label in seen.labels()] == ["best", "last"] * 2


def test_a_file_that_is_overwritten_in_place_was_captured_before(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching()
    run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False)
    run.fit(net(package)(), data())
    run.save_checkpoint(tmp_path / "mine.ckpt")
    with (tmp_path / "mine.ckpt").open("r+b") as stream:
        stream.write(b"\0" * 1000)
    run.fit_loop.max_epochs = 2
    run.fit(run.lightning_module, data())
    run.save_checkpoint(tmp_path / "mine.ckpt")
    assert [step_of(one.path) for one in seen.of("checkpoint")] == [3, 6]
    assert {one.detection.snapshot for one in seen.of("checkpoint")} == {"copy"}


def test_checkpoints_that_a_thread_writes_are_captured_when_they_are_complete(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    io = importlib.import_module(f"{package}.plugins.io").AsyncCheckpointIO()
    saver = checkpoints(package, tmp_path / "c", monitor="val/gap", save_top_k=1, save_last=True, filename="{epoch}")
    run = trainer(package, tmp_path, max_epochs=4, callbacks=[saver], plugins=[io])
    run.fit(net(package)(), data(), data())
    assert seen.labels() == [
        pair for epoch in range(4) for pair in ((f"epoch={epoch}.ckpt", "best"), ("last.ckpt", "last"))
    ]
    assert [step_of(one.path) for one in seen.of("checkpoint")] == [3, 3, 6, 6, 9, 9, 12, 12]
    assert [one.said["global_step"] for one in seen.of("checkpoint")] == [3, 3, 6, 6, 9, 9, 12, 12]


def test_a_thread_that_is_slow_claims_its_file_until_it_is_written(package: str, tmp_path: Path, watching: Any) -> None:
    """A detector that watches the directory would otherwise report half a file."""
    import threading

    from tracelet.core.system.saves import being_saved

    seen = watching()
    go = threading.Event()
    root = importlib.import_module(f"{package}.plugins.io")

    class Slow(root.AsyncCheckpointIO):
        def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            if getattr(self, "_executor", None) is None:
                self._ensure_setup()
            self._executor.submit(go.wait)
            super().save_checkpoint(*args, **kwargs)

    run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False, plugins=[Slow()])
    run.fit(net(package)(), data())
    io = run.strategy._checkpoint_io
    if getattr(io, "_executor", None) is not None:
        from concurrent.futures import ThreadPoolExecutor

        io._executor = ThreadPoolExecutor(1)
    path = tmp_path / "slow.ckpt"
    run.save_checkpoint(path)
    assert being_saved(path)
    assert not seen.all[1:]
    go.set()
    seen.detector.stop()
    assert not being_saved(path)
    assert seen.labels() == [("slow.ckpt", "manual")]
    io.teardown()


def test_a_checkpoint_that_is_a_folder_is_captured_whole_and_as_it_was(
    package: str, tmp_path: Path, watching: Any
) -> None:
    seen = watching()
    root = importlib.import_module(f"{package}.plugins.io")

    class Shards(root.TorchCheckpointIO):
        """Writes the same files again each time, in place."""

        def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
            Path(path).mkdir(parents=True, exist_ok=True)
            for number in range(2):
                Path(path, f"shard-{number}").write_text(str(checkpoint["global_step"]))

    saver = checkpoints(package, tmp_path / "c", save_last=True, save_top_k=0, filename="sharded")
    run = trainer(package, tmp_path, callbacks=[saver], plugins=[Shards()])
    run.fit(net(package)(), data(), data())
    kept = seen.of("checkpoint")
    assert kept
    assert {one.detection.artifact_path for one in kept} == {"last.ckpt"}
    for one in kept:
        assert [path.read_text() for path in sorted(one.path.iterdir())] == [str(one.said["global_step"])] * 2


def test_a_save_that_fails_raises_and_is_not_captured(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen = watching(final_model=False)
    run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False)
    run.fit(net(package)(), data())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        run.save_checkpoint(tmp_path / "file" / "mine.ckpt")
    with pytest.raises(AttributeError):
        trainer(package, tmp_path).save_checkpoint(tmp_path / "mine.ckpt")
    assert not seen.all
    assert not [record for record in caplog.records if record.name == "tracelet.automagic"]


def test_a_checkpoint_at_a_url_is_not_captured(package: str, tmp_path: Path, watching: Any) -> None:
    fsspec = pytest.importorskip("fsspec")
    seen = watching(final_model=False)
    run = trainer(package, tmp_path, max_epochs=1, enable_checkpointing=False)
    run.fit(net(package)(), data())
    run.save_checkpoint(f"memory://{package}/mine.ckpt")
    assert fsspec.filesystem("memory").exists(f"/{package}/mine.ckpt")
    run.save_checkpoint(f"file://{tmp_path}/near.ckpt")
    assert seen.labels() == [("near.ckpt", "manual")]


def test_checkpoints_can_be_turned_off(package: str, tmp_path: Path, watching: Any) -> None:
    seen = watching(checkpoints=False)
    trainer(package, tmp_path).fit(net(package)(), data(), data())
    assert {one.kind for one in seen.all} == {"sample", "model"}
