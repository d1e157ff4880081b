"""The hooks on the user's module while it validates: they give samples, and change nothing."""

from __future__ import annotations

import copy
import gc
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_nets import data, net, trainer
from sample_tables import PutsOut

from tracelet_lightning import samples


class Full(torch.Tensor):
    """A tensor that cannot be copied, as if memory were short."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.clone:
            raise torch.OutOfMemoryError("there is no memory left")
        return super().__torch_function__(func, types, args, kwargs or {})


class Answer:
    """An output whose property raises."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    @property
    def logits(self) -> torch.Tensor:
        raise LookupError("ask me later")


#: What a layer puts out, and how the layers after it have it as it was.
ODD: dict[str, tuple[Any, Any]] = {
    "nested": (lambda x: torch.nested.nested_tensor(list(x)), lambda y: torch.nested.to_padded_tensor(y, 0.0)),
    "sparse": (lambda x: x.flatten(1).to_sparse(), lambda y: y.to_dense()),
    "csr": (lambda x: x.flatten(1).to_sparse_csr(), lambda y: y.to_dense()),
    "complex": (lambda x: x.to(torch.complex64), lambda y: y.real),
    "empty": (lambda x: (x, x[:, :0]), lambda y: y[0]),
    "answer": (Answer, lambda y: y.x),
    "full": (lambda x: x.as_subclass(Full), lambda y: y.as_subclass(torch.Tensor)),
}


class Odd(torch.nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Any) -> Any:
        return ODD[self.kind][0](x)


class Plain(torch.nn.Module):
    def __init__(self, odd: Odd) -> None:
        super().__init__()
        self.odd = odd

    def forward(self, x: Any) -> Any:
        return ODD[self.odd.kind][1](self.odd(x))


class Body(torch.nn.Module):
    """Layers with a forward of its own, which is what torch.compile compiles."""

    def __init__(self, layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Refusing(torch.nn.Module):
    """A module that takes no hooks."""

    def register_forward_hook(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError("no hooks here")

    def forward(self, x: Any) -> Any:
        return x


def hooks(module: torch.nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tracelet.automagic"]


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_output_of_a_layer_does_not_change_the_training(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def losses(folder: Path) -> list[float]:
        torch.manual_seed(5)
        model = net(package)()
        model.odd = Odd(kind)
        model.net.insert(0, Plain(model.odd))
        seen: list[float] = []
        model.on_train_batch_end = lambda outputs, batch, index: seen.append(outputs["loss"].item())
        run = trainer(package, folder, enable_checkpointing=False)
        run.fit(model, data(), data())
        assert not hooks(model)
        return [*seen, run.callback_metrics["val_loss"].item()]

    without = losses(tmp_path / "without")
    keeper = watching()
    assert losses(tmp_path / "with") == without
    kept = keeper.of("sample")
    assert [one.said["epoch"] for one in kept] == [0, 1]
    if kind == "full":
        # Nothing more is tried in that epoch.
        assert warned(caplog) == [
            "what odd put out, for a sample of the validation, is not captured: "
            "OutOfMemoryError: there is no memory left"
        ] * len(kept)
        assert {one.said["predictions_from"] for one in kept} == {""}
    else:
        assert not warned(caplog)
        assert {one.said["predictions_from"] for one in kept} == {"forward"}


@pytest.mark.parametrize("child", ["scripted", "refusing"])
def test_a_layer_that_takes_no_hooks_prevents_no_sample_and_no_hook_is_left(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture, child: str
) -> None:
    model = net(package)()
    model.child = torch.jit.script(torch.nn.ReLU()) if child == "scripted" else Refusing()
    model.net.append(model.child)
    keeper = watching()
    left: list[int] = []
    model.on_validation_epoch_end = lambda: left.append(hooks(model))
    trainer(package, tmp_path, max_epochs=3, enable_checkpointing=False).fit(model, data(), data())
    assert {one.said["predictions_from"] for one in keeper.of("sample")} == {"forward"}
    assert len(keeper.of("sample")) == 3
    keeper.detector.stop()
    assert not any(left)
    assert not hooks(model)
    assert not warned(caplog)
    del model.on_validation_epoch_end
    if child == "refusing":
        # TorchScript's own modules cannot be pickled, with hooks or without.
        model.trainer = None
        assert isinstance(pickle.loads(pickle.dumps(model)), type(model))


def test_an_interrupt_while_hooks_are_put_on_leaves_none() -> None:
    class Stopping(torch.nn.Module):
        def register_forward_hook(self, *args: Any, **options: Any) -> Any:
            raise KeyboardInterrupt

    module = torch.nn.Sequential(torch.nn.Linear(2, 2), Stopping())
    with pytest.raises(KeyboardInterrupt):
        samples.BatchObserver(module, torch.rand(4, 2), 2)
    assert not hooks(module)


def test_a_step_may_copy_and_pickle_its_module_and_the_copies_are_not_observed() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3))
    x = torch.rand(4, 2)
    view = samples.BatchObserver(module, x, 4)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
        other(x + 1)
    view.close()
    found = view.samples(None)
    assert found.groups["prediction"].values.tolist() == module(x).tolist()


def test_little_memory_is_held_for_a_layer_that_is_called_often() -> None:
    def held() -> int:
        gc.collect()
        storages = [
            one.untyped_storage() for one in gc.get_objects() if type(one) is torch.Tensor and not one.is_sparse
        ]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    class Loop(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = torch.nn.Linear(8, 50_000)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for number in range(50):
                y = self.cell(x) + number
            return y

    module, x = Loop(), torch.rand(64, 8)
    before = held()
    view = samples.BatchObserver(module, (x, torch.arange(64) % 3), 16)
    with torch.no_grad():
        last = module(x)
    best, first = last.argmax(1)[:16].tolist(), last[:16, :256].tolist()
    del last
    # 16 rows of 256 columns of each of the two, what went in, and what was wanted, as they were and as they are shown.
    assert held() - before < 2 * 16 * 256 * 4 + 2 * 16 * (8 * 4 + 8 + 8 + 8) + 1000
    view.close()
    found = view.samples(None)
    assert (found.source, found.groups["prediction"].width) == ("forward", 50_000)
    assert found.groups["prediction"].values.tolist() == first
    assert found.groups["prediction"].classes.tolist() == best


def test_only_the_shown_part_of_large_images_is_held() -> None:
    logits = torch.rand(4, 10, 1024, 600)
    model, x = PutsOut(logits), torch.rand(4, 3, 1024, 600)
    view = samples.BatchObserver(model, (x, torch.rand(4, 1024, 600)), 2)
    # They are not copied either.
    assert all(
        one.rows.untyped_storage().data_ptr() == one.value.untyped_storage().data_ptr() for one in view._rows.columns
    )
    model(x)
    found = view.samples({"logits": logits})
    for part in (found.groups["input"], found.groups["target"], found.groups["prediction"]):
        assert set(part.sizes) == {(1024, 600)}
        assert part.pixels.untyped_storage().nbytes() <= 2 * 3 * 256 * 150 * 8


def test_large_samples_that_a_step_reorders_in_place_have_no_predictions() -> None:
    logits = torch.rand(4, 10, 1024, 600)
    model, x = PutsOut(logits), torch.rand(4, 3, 1024, 600)
    view = samples.BatchObserver(model, (x, torch.rand(4, 1024, 600)), 2)
    x.copy_(x.flip(0))
    model(x)
    assert "prediction" not in view.samples({"logits": logits}).groups


def test_a_distributed_tensor_is_left_alone(tmp_path: Path) -> None:
    from torch import distributed
    from torch.distributed.tensor import DeviceMesh, Shard, distribute_tensor

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        part = distribute_tensor(torch.rand(4, 2), DeviceMesh("cpu", [0]), [Shard(0)])
        view = samples.BatchObserver(torch.nn.Identity(), (torch.rand(4, 2), torch.rand(4)), 2)
        found = view.samples({"preds": part})
        assert found.source == ""
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize(
    ("what", "source"),
    [
        ("method", "forward"),
        ("child", "forward"),
        ("child in place", "forward"),
        ("step", ""),
        ("all in place", ""),
    ],
)
def test_compiled_code_is_not_compiled_once_more(
    package: str, tmp_path: Path, watching: Any, what: str, source: str, sanity: int
) -> None:
    def compilations(folder: Path) -> int:
        torch._dynamo.reset()
        graphs: list[Any] = []

        def backend(graph: Any, inputs: Any) -> Any:
            graphs.append(graph)
            return graph

        class Compiled(net(package)):
            def __init__(self) -> None:
                super().__init__()
                options = {"fullgraph": True, "backend": backend}
                self.net, self.fast = Body(self.net), self.compute
                if what == "method":
                    self.fast = torch.compile(self.compute, **options)
                elif what == "child":
                    self.net = torch.compile(self.net, **options)
                elif what == "child in place":
                    self.net.compile(**options)
                elif what == "step":
                    self.validation_step = torch.compile(self.step, **options)
                else:
                    self.compile(**options)

            def compute(self, x: Any) -> Any:
                return self.net(x)

            def forward(self, x: Any) -> Any:
                return self.fast(x)

            def step(self, batch: Any, batch_idx: int) -> Any:
                return {"preds": self(batch[0])}

        run = trainer(package, folder, num_sanity_val_steps=sanity, enable_checkpointing=False, max_epochs=3)
        run.fit(Compiled(), data(), data())
        return len(graphs)

    without = compilations(tmp_path / "without")
    keeper = watching(final_model=False)
    assert compilations(tmp_path / "with") == without > 0
    assert [one.said["predictions_from"] for one in keeper.all] == [source] * 3


def test_hooks_stay_out_of_a_graph_that_is_compiled_meanwhile() -> None:
    torch._dynamo.reset()
    module = torch.nn.Sequential(torch.nn.Linear(2, 3))
    fast = torch.compile(lambda x: module(x), fullgraph=True, backend="eager")
    x = torch.rand(4, 2)
    view = samples.BatchObserver(module, x, 2)
    with torch.no_grad():
        assert torch.equal(fast(x), module(x))
    view.close()
    found = view.samples(None)
    assert found.source == "forward"
