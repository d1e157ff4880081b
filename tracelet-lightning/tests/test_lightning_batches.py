"""Batches of every form: a row of the table is one sample of the user's, or there is no table and a line says why."""

from __future__ import annotations

import re
import warnings
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch.utilities import CombinedLoader
from lightning_nets import data, net, trainer
from sample_tables import PutsOut, Row, rows, table
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader
from transformers import BatchEncoding

from tracelet.exceptions import ConfigError
from tracelet.settings.from_variables import load_plugin
from tracelet_lightning import LightningSettings, roles, samples

with warnings.catch_warnings():
    # Its import calls what newer releases of torch deprecate.
    warnings.simplefilter("ignore")
    from torch_geometric.data import Batch, Data

    # The older layout of nested tensors warns of itself when the first is made.
    torch.nested.nested_tensor([torch.zeros(1)])

#: The ids of four samples: inputs are 100 and more, targets 900 and more.
COUNT = 4
IDS = torch.tensor([3, 0, 2, 1])
Y = 900 + IDS
X = 100.0 + IDS.unsqueeze(1).repeat(1, 3)
RAGGED = [100.0 + torch.full((length,), int(one)) for one, length in zip(IDS, (2, 5, 4, 3), strict=True)]
GRAPHS = [
    Data(x=100.0 + torch.full((nodes, 2), int(one)), edge_index=torch.tensor([[0], [1]]), y=900 + one.reshape(1))
    for one, nodes in zip(IDS, (2, 5, 4, 3), strict=True)
]
Pair = namedtuple("Pair", "x y")


@dataclass
class Batched:
    image: Any
    label: Any


class Slotted:
    __slots__ = ("label", "x")

    def __init__(self) -> None:
        self.x, self.label = X, Y


def first(row: Row, role: str) -> int:
    """Return the first number that a row has for a role."""
    return int(float(next(value for key, value in row.items() if key.startswith(role) and value)))


KNOWN: dict[str, Any] = {
    "tensors": (X, Y),
    "a list": [X, Y],
    "arrays": (X.numpy(), Y.numpy()),
    "lists of numbers": (X.tolist(), Y.tolist()),
    "lists of tensors of different lengths": (RAGGED, Y),
    "lists of tensors and of numbers": (list(X), Y.tolist()),
    "a packed sequence": (pack_sequence(RAGGED, enforce_sorted=False), Y),
    "a nested tensor": (torch.nested.nested_tensor(RAGGED), Y),
    "a jagged tensor": (torch.nested.nested_tensor(RAGGED, layout=torch.jagged), Y),
    "usual names": {"x": X, "y": Y},
    "other names": {"speed": X, "height": X[:, 0], "label": Y},
    "nested names": {"inputs": {"a": X, "b": X}, "targets": {"y": Y}, "epoch": 3},
    "names and a position": ({"a": X, "b": X}, Y),
    "inputs with names, and targets with names": ({"a": X, "b": X}, {"y": Y}),
    "targets with names": (list(X), [{"label": int(one), "note": "n"} for one in Y]),
    "an encoding": BatchEncoding({"input_ids": X.long(), "attention_mask": X.long() * 0 + 1, "labels": Y}),
    "a named tuple": Pair(X, Y),
    "a dataclass": Batched(X, Y),
    "slots": Slotted(),
    "graphs": Batch.from_data_list(GRAPHS),
    "samples that were not collated": [{"x": x, "label": int(y)} for x, y in zip(X, Y, strict=True)],
    "pairs that were not collated": [(x, int(y)) for x, y in zip(RAGGED, Y, strict=True)],
    "one sample": (X[:1], Y[:1]),
    "one graph": GRAPHS[0],
}

UNCLEAR: dict[str, tuple[Any, str]] = {
    "time first": ((torch.rand(7, 4, 3), Y), "different numbers of rows (0: 7, 1: 4)"),
    "no target by name": ({"speed": X, "height": Y}, "no name says which of them is the target"),
    "three parts": ((X, Y, torch.tensor([7, 5, 5, 2])), "none is certainly the target"),
    "records of what is no target": ((X, Y, [{"name": "a"}] * 4), "none is certainly the target"),
    "a pair, and unlabelled inputs": (((X, Y), X + 50), "none is certainly the target"),
    "pairs of two dataloaders": (((X, Y), (X + 50, Y)), "may be samples or parts"),
    "targets and weights": ((X, (Y, X)), "none is certainly the target"),
    "something with other names": ((X, {"id": Y}), "none is certainly the target"),
    "views": ([torch.rand(8, 3, 6, 6) for _ in range(4)], "none is certainly the target"),
    "lists as long as their members": (([torch.rand(4, 3)] * 4, Y), "may be samples or parts"),
    "images that were not collated": ([torch.rand(3, 8, 8)] * 3, "may be samples or parts"),
    "a mapping in a list": ([{"x": X, "y": Y}], "may be samples or parts"),
    "a mapping in a list, with a constant": ([{"x": X, "y": Y, "epoch": 3}], "may be samples or parts"),
    "an object": ((object(), Y), "0: no rows"),
    "one sample without a batch": ((torch.rand(3, 8, 8), 1), "1: no rows"),
    "a sparse tensor": ((X.to_sparse(), Y), "no rows"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_row_is_one_sample_with_its_own_input_and_target(kind: str) -> None:
    rows = table(KNOWN[kind])
    count = 1 if kind.startswith("one ") else COUNT
    assert [first(row, "input") for row in rows] == [100 + int(one) for one in IDS[:count]]
    targets = [next(v for k, v in row.items() if k.startswith("target") and (k != "target_note") and v) for row in rows]
    assert [int(one) for one in targets] == Y[:count].tolist()


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_batch_that_is_not_clear_says_why(kind: str) -> None:
    batch, reason = UNCLEAR[kind]
    with pytest.raises(roles.UnclearBatchError) as caught:
        table(batch)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("batch", "named", "expected"),
    [
        ((X, Y, torch.rand(4)), {"targets": ["1"], "inputs": ["0"]}, {"input_0", "input_1", "input_2", "target", "2"}),
        ({"a": X, "b": {"c": Y, "d": Y}}, {"targets": ["b.c", "b.d"]}, {"target_c", "target_d"}),
        ({"a.b": X, "c": Y}, {"inputs": ["a.b"], "targets": ["c"]}, {"input_0", "target"}),
        (Batched(X, Y), {"inputs": ["label"], "targets": ["image"]}, {"input", "target_0"}),
        ((X, {"k": Y}), {"targets": ["1.k"]}, {"input_0", "target"}),
    ],
)
def test_the_user_names_keys_attributes_and_positions(batch: Any, named: Any, expected: set[str]) -> None:
    rows = table(batch, **named)
    assert len(rows) == COUNT
    assert expected <= set(rows[0])


TWO = torch.arange(2 * 64, dtype=torch.float).reshape(2, 1, 8, 8)


@pytest.mark.parametrize(
    ("batch", "named", "expected"),
    [
        ((TWO, TWO + 1), {"inputs": ["0"], "targets": ["1"]}, {"input": 2, "target": 2}),
        (([X[:, :1]] * 4, Y), {"inputs": ["0.0", "0.3"], "targets": ["1"]}, {"input_0": 4, "input_3": 4, "target": 4}),
        (([torch.rand(4, 1)] * 4, Y), {"inputs": ["0"], "targets": ["1"]}, {"input_3": 4, "target": 4}),
        ([{"x": X, "y": Y}], {"inputs": ["0.x"], "targets": ["0.y"]}, {"input_2": 4, "target": 4}),
        ([{"x": X[0, :1], "y": X[1, :1]}], {"inputs": ["x"], "targets": ["y"]}, {"input": 1, "target": 1}),
    ],
)
def test_what_the_user_names_decides_what_a_list_holds(batch: Any, named: Any, expected: dict[str, int]) -> None:
    with pytest.raises(roles.UnclearBatchError):
        table(batch)
    rows = table(batch, **named)
    assert {key: len(rows) for key in expected if key in rows[0]} == expected


@pytest.mark.parametrize(
    "output",
    [
        (torch.zeros(2, 3), torch.ones(2, 3)),
        [[0.0, 1.0], [1.0, 0.0]],
        [{"scores": torch.zeros(2, 3)}, {"scores": torch.ones(2, 3)}],
    ],
    ids=["tensors", "numbers", "mappings"],
)
def test_as_many_heads_as_samples_are_no_predictions_of_the_samples(output: Any) -> None:
    class Heads(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return output

    module, batch = Heads(), (X[:2], Y[:2])
    view = samples.BatchObserver(module, batch, 16)
    module(batch[0])
    view.close()
    for returned in (None, {"preds": output}, output):
        assert view.samples(returned).source == ""


class Steps:
    """An iterable of the user's, as older libraries of text have them."""

    def __iter__(self) -> Any:
        yield torch.rand(35, 16), torch.zeros(35)


class Points(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        return torch.rand(30, 16), torch.randint(0, 3, (30,))


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (lambda: DataLoader(Points(), batch_size=None), "makes no batches"),
        (lambda: DataLoader(Points(), batch_size=1, collate_fn=lambda items: items[0]), "30 rows.* gives 1 sample"),
        (Steps, "makes no batches"),
        (lambda: CombinedLoader([data(8), data(8)], "min_size"), "several dataloaders"),
    ],
    ids=["no batches", "one item a batch", "no dataloader", "several dataloaders"],
)
def test_rows_that_the_dataloader_does_not_call_samples_are_none(
    tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture, loader: Any, reason: str
) -> None:
    seen = watching(final_model=False)
    model = linear("lightning.pytorch", lambda model, batch: None)
    run = trainer("lightning.pytorch", tmp_path, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False)
    run.fit(model, data(8), loader())
    assert not seen.all
    (line,) = [one.getMessage() for one in caplog.records if one.name == "tracelet.automagic"]
    assert re.search(reason, line)
    # The line advises what helps: names of parts do not say what a row is.
    assert ("TRACELET_LIGHTNING_INPUT" in line) is ("several" in reason)
    assert "tracelet_sample(batch, outputs)" in line


def test_a_batch_of_two_pairs_of_one_shape_is_clear_where_torch_has_made_it(tmp_path: Path, watching: Any) -> None:
    items = [(torch.full((16,), float(one)), torch.full((16,), 10.0 + one)) for one in range(2)]
    model = linear("lightning.pytorch", lambda model, batch: model(batch[0]))
    rows = fitted("lightning.pytorch", tmp_path, watching, model, items)
    assert [(row["input_0"], row["target_1"]) for row in rows] == [("0", "10"), ("1", "11")]


def test_a_part_that_is_named_and_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(roles.UnclearBatchError, match=r"TRACELET_LIGHTNING_TARGET names 'z', and the batch has x, y"):
        table({"x": X, "y": Y}, targets=["z"])


def test_the_settings_are_read_as_words_and_a_path_with_a_gap_is_refused() -> None:
    read = load_plugin(LightningSettings, "lightning", {"input": "0, 1", "target": "batch.label"})
    assert (read.input, read.target) == (["0", "1"], ["batch.label"])
    with pytest.raises(ConfigError, match=r"TRACELET_LIGHTNING_TARGET='a\.\.b'.*give keys or positions"):
        load_plugin(LightningSettings, "lightning", {"target": "a..b"})


@pytest.mark.parametrize("lengths", [(7, 4), (4, 4)])
def test_layers_that_have_time_first_make_a_batch_unclear(lengths: tuple[int, int]) -> None:
    tokens = torch.randint(0, 9, lengths)
    with pytest.raises(roles.UnclearBatchError, match="may be time"):
        table((tokens, tokens), module=torch.nn.LSTM(2, 2))
    assert len(table((tokens, tokens), module=torch.nn.LSTM(2, 2, batch_first=True))) == lengths[0]


def test_graphs_have_the_predictions_of_their_own_nodes() -> None:
    batch = Batch.from_data_list(GRAPHS)
    by_node, by_graph = (
        table(batch, module=PutsOut(one), step=lambda module, batch: {"preds": module(batch)})
        for one in (batch.x[:, :1], batch.y)
    )
    assert [first(row, "prediction") for row in by_node] == [100 + int(one) for one in IDS]
    assert [row["prediction_shape"] for row in by_node] == ["2 x 1", "5 x 1", "4 x 1", "3 x 1"]
    assert [first(row, "prediction") for row in by_graph] == Y.tolist()
    assert [row["nodes"] for row in by_graph] == ["2", "5", "4", "3"]


def _nested(depth: int) -> Any:
    """Batches of parts that all have a row for each sample, in mappings and lists of any names."""
    shape = st.sampled_from(["flat", "wide", "ragged", "numbers", "array", "packed"])
    if not depth:
        return shape
    keys = st.sampled_from(["a", "b", "x", "y", "label", "image", "mask", "weights", "target", "data"])
    below = _nested(depth - 1)
    return shape | st.dictionaries(keys, below, min_size=1, max_size=3) | st.lists(below, min_size=1, max_size=3)


def _filled(form: Any, ids: list[int]) -> Any:
    if isinstance(form, dict):
        return {key: _filled(one, ids) for key, one in form.items()}
    if isinstance(form, list):
        return tuple(_filled(one, ids) for one in form)
    ragged = [torch.full((1 + one % 3,), float(one)) for one in ids]
    return {
        "flat": torch.tensor(ids),
        "wide": torch.tensor(ids, dtype=torch.float).unsqueeze(1).repeat(1, 3),
        "ragged": ragged,
        "numbers": list(ids),
        "array": numpy.array(ids),
        "packed": pack_sequence(ragged, enforce_sorted=False),
    }[form]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    # A list that is the whole batch holds its parts.
    form=_nested(2).filter(lambda form: form not in ("ragged", "numbers")),
    ids=st.lists(st.integers(5, 99), min_size=1, max_size=6, unique=True),
)
def test_every_value_of_a_row_is_of_the_same_sample_or_there_is_no_table(form: Any, ids: list[int]) -> None:
    try:
        batch = _filled(form, ids)
        rows = table(batch, module=PutsOut(torch.tensor(ids)), step=lambda module, batch: {"preds": module(batch)})
    except roles.UnclearBatchError:
        return
    assert len(rows) == len(ids)
    for row, one in zip(rows, ids, strict=True):
        shown = {int(float(value)) for key, value in row.items() if value and key != "sample" and "_shape" not in key}
        assert shown == {one}


def linear(package: str, step: Any, **members: Any) -> Any:
    """Return a module of a package whose validation step is the one given."""
    model = net(package)()
    model.validation_step = lambda batch, batch_idx: step(model, batch)
    for name, one in members.items():
        setattr(model, name, one)
    return model


def fitted(package: str, folder: Path, watching: Any, model: Any, items: list[Any], **options: Any) -> list[Row]:
    """Train one epoch, and return the rows of its samples."""
    collate = options.pop("collate", None)
    seen = watching(final_model=False, **options)
    loader = DataLoader(items, batch_size=len(items), collate_fn=collate)
    trainer(package, folder, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False).fit(
        model, data(8), loader
    )
    found = seen.of("sample")
    if not found:
        return []
    return rows(found[0].path)


def cost(model: Any, batch: Any) -> Any:
    return torch.nn.functional.cross_entropy(model.net(batch[0]), batch[1], reduction="none")


class Weighted(torch.nn.Module):
    """A loss of the user's own."""

    def forward(self, scores: Any, wanted: Any) -> Any:
        return (scores.sum(1) - wanted.float()) ** 2


PAIRS = [(torch.full((16,), float(number)), number % 3) for number in range(6)]


@pytest.mark.parametrize(
    ("step", "source"),
    [
        (lambda model, batch: model.net(batch[0]), True),
        (lambda model, batch: model.net(batch[0]).argmax(1), True),
        (lambda model, batch: model.net(batch[0]).softmax(1), True),
        (lambda model, batch: {"loss": cost(model, batch), "preds": model.net(batch[0])}, True),
        (cost, False),
        (lambda model, batch: torch.nn.functional.one_hot(batch[1], 3) * cost(model, batch)[:, None], False),
        (lambda model, batch: model.own(model.net(batch[0]), batch[1]), False),
        (lambda model, batch: model.torchs(model.net(batch[0]), batch[1]), False),
    ],
    ids=["scores", "classes", "shares", "a name", "a loss", "losses of classes", "the user's loss", "torch's loss"],
)
def test_what_the_model_put_out_is_a_prediction_and_a_loss_of_each_sample_is_none(
    tmp_path: Path, watching: Any, step: Any, source: bool
) -> None:
    model = linear("lightning.pytorch", step, own=Weighted(), torchs=torch.nn.CrossEntropyLoss(reduction="none"))
    rows = fitted("lightning.pytorch", tmp_path, watching, model, PAIRS)
    assert [first(row, "input") for row in rows] == list(range(6))
    assert any(key.startswith("prediction") for key in rows[0]) is source
    if "prediction_2" in rows[0]:
        scores = torch.tensor([[float(row[f"prediction_{place}"]) for place in range(3)] for row in rows])
        put_out = model.net(torch.stack([x for x, _ in PAIRS]))
        assert torch.allclose(scores, put_out, rtol=1e-4) or torch.allclose(scores, put_out.softmax(1), rtol=1e-4)


def test_a_loss_that_a_child_put_out_last_is_passed_over(tmp_path: Path, watching: Any) -> None:
    def step(model: Any, batch: Any) -> None:
        model.own(model.net(batch[0]), batch[1])

    rows = fitted("lightning.pytorch", tmp_path, watching, linear("lightning.pytorch", step, own=Weighted()), PAIRS)
    assert "prediction_2" in rows[0]


@pytest.mark.parametrize("kind", ["raises", "none", "few", "whole"])
def test_the_modules_own_method_is_asked_first(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def own(batch: Any, outputs: Any) -> Any:
        if kind == "raises":
            raise KeyError("no such thing")
        wrong = {"input": batch[0], "target": batch[1][:2]}
        right = {"input": batch[0], "target": batch[1], "prediction": outputs["a"], "file": list("abcdef")}
        return {"none": None, "few": wrong, "whole": right}[kind]

    model = linear(package, lambda model, batch: {"a": batch[1] + 1}, tracelet_sample=own)
    rows = fitted(package, tmp_path, watching, model, PAIRS)
    said = [one.getMessage() for one in caplog.records if one.name == "tracelet.automagic"]
    if kind == "whole":
        assert [(row["target"], row["prediction"], row["file"]) for row in rows][:2] == [
            ("0", "1", "a"),
            ("1", "2", "b"),
        ]
    else:
        assert not rows
    expected = {
        "raises": ["KeyError: 'no such thing'"],
        "few": ["tracelet_sample is to return as many rows for each column, and returned input: 6, target: 2"],
    }.get(kind, [])
    assert len(said) == len(expected)
    assert all(part in line for part, line in zip(expected, said, strict=True))


def test_an_unclear_batch_is_one_line_in_a_run_and_naming_its_parts_mends_it(
    package: str, tmp_path: Path, watching: Any, caplog: pytest.LogCaptureFixture
) -> None:
    items = [(*pair, 0.5) for pair in PAIRS]
    model = linear(package, lambda model, batch: None)
    loader = DataLoader(items, batch_size=6)
    seen = watching()
    trainer(package, tmp_path, max_epochs=3, num_sanity_val_steps=0, enable_checkpointing=False).fit(
        model, data(8), loader
    )
    seen.detector.stop()
    assert not seen.of("sample")
    (line,) = [one.getMessage() for one in caplog.records if one.name == "tracelet.automagic"]
    assert "it has 3 parts" in line
    assert "TRACELET_LIGHTNING_TARGET" in line
    rows = fitted(package, tmp_path, watching, model, items, input=["0"], target=["1"])
    assert [row["target"] for row in rows] == ["0", "1", "2"] * 2
