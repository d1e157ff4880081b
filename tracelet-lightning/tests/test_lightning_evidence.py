"""What the step shows of a batch: which part is the target, and whose predictions an output has; else nothing is claimed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sample_tables import PutsOut, Row, table
from test_lightning_batches import first

from tracelet_lightning import losses, roles, samples
from tracelet_lightning.roles import UnclearBatchError

F = torch.nn.functional
B = 4
X = torch.tensor([[3.0, 1, 4], [1, 5, 9], [2, 6, 5], [3, 5, 8]])
Y = torch.tensor([2, 0, 1, 1])
ORDER = torch.tensor([2, 0, 3, 1])


class Net(torch.nn.Module):
    """A module with a layer, and with a loss where one is given."""

    def __init__(self, loss: Any = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net, self.loss = torch.nn.Linear(3, 3), loss

    def forward(self, x: Any, *rest: Any) -> Any:
        if rest and rest[0] is ORDER:
            return self.net(x[ORDER])
        return self.net(x + rest[0] if rest and rest[0].shape == x.shape else x)


class Own(torch.nn.Module):
    """A loss of the user's own."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class Model(torch.nn.Module):
    """A model whose ``forward`` is the function given."""

    def __init__(self, function: Any, width: int = 3) -> None:
        super().__init__()
        self.net, self.function = torch.nn.Linear(3, width), function

    def forward(self, *arguments: Any) -> Any:
        return self.function(self.net, *arguments)


def predicted(rows: list[Row]) -> torch.Tensor | None:
    """Return the predictions of a table, or None without one."""
    keys = [key for key in rows[0] if key.startswith("prediction")]
    return torch.tensor([[float(row[key]) for key in keys] for row in rows]) if keys else None


def shows(rows: list[Row], expected: torch.Tensor) -> bool:
    found = predicted(rows)
    return found is not None and found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4)


LAST: dict[str, Any] = {
    "lengths": torch.tensor([7, 5, 5, 2]),
    "an index": torch.tensor([17, 3, 42, 8]),
    "groups": torch.tensor([0, 0, 1, 1]),
    "a mask of whole numbers": torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]),
    "a mask of floating numbers": torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0.0]]),
    "weights": torch.rand(B, 1),
    "names": ["a", "b", "c", "d"],
    "records": [{"name": "a"}] * B,
    "a mapping": {"id": torch.tensor([5, 9, 2, 7])},
}


@pytest.mark.parametrize("kind", LAST)
@pytest.mark.parametrize(
    "loss",
    [
        lambda scores, wanted: F.cross_entropy(scores, wanted),
        lambda scores, wanted: torch.nn.BCEWithLogitsLoss()(scores, F.one_hot(wanted, 3).float()),
        lambda scores, wanted: F.nll_loss(scores.log_softmax(1), target=wanted),
    ],
    ids=["a function", "a module, of a converted target", "by name"],
)
def test_what_a_loss_was_given_is_the_target_whatever_stands_last(kind: str, loss: Any) -> None:
    module = Net()
    rows = table((X, Y, LAST[kind]), module=module, step=lambda module, batch: loss(module(batch[0]), batch[1]))
    assert [first(row, "target") for row in rows] == Y.tolist()
    assert [first(row, "input") for row in rows] == X[:, 0].int().tolist()
    assert shows(rows, module.net(X))


@pytest.mark.parametrize("kind", LAST)
def test_without_a_loss_of_torch_no_part_is_guessed_to_be_the_target(kind: str) -> None:
    with pytest.raises(UnclearBatchError):
        table((X, Y, LAST[kind]), module=Net(), step=lambda module, batch: (module(batch[0]), None)[1])


@pytest.mark.parametrize(
    ("batch", "step", "names"),
    [
        ((X, X[:, :1], Y), lambda m, b: F.cross_entropy(m(b[0], b[1]), b[2]), {"input_0_0", "input_1", "target"}),
        (([X, X + 1], Y), lambda m, b: F.cross_entropy(m(*b[0]), b[1]), {"input_0_0", "input_1_0", "target"}),
        ((LAST["an index"], X, Y), lambda m, b: F.cross_entropy(m(b[1]), b[2]), {"input_0", "0", "target"}),
        (((X, Y), X + 50), lambda m, b: F.cross_entropy(m(b[0][0]), b[0][1]), {"input_0", "target", "1_0"}),
        ((X, (Y, X[:, 0])), lambda m, b: F.cross_entropy(m(b[0]), b[1][0]), {"input_0", "target", "1.1"}),
        ({"a": X, "b": Y}, lambda m, b: F.cross_entropy(m(b["a"]), b["b"]), {"input_0", "target"}),
        (
            {"x": X[:, 0], "y": X[:, 1], "kind": Y},
            lambda m, b: F.cross_entropy(m(X.clone()), b["kind"]),
            {"input", "target"},
        ),
    ],
    ids=["two inputs", "a list", "an index first", "unlabelled", "weights", "names", "a map"],
)
def test_the_step_says_which_parts_are_inputs_and_which_the_target(batch: Any, step: Any, names: set[str]) -> None:
    rows = table(batch, module=Net(), step=step)
    assert names <= set(rows[0])


@pytest.mark.parametrize(
    ("batch", "step"),
    [
        ((X, X + 1), lambda m, b: (m(b[0]), m(b[1]))),
        ((X, X + 1), lambda m, b: m(torch.cat(b))),
        ((X, X + 1), lambda m, b: None),
        ((X, Y), lambda m, b: m(b[0], b[1])),
        ((X, torch.arange(4)), lambda m, b: None),
        ((X, Y), lambda m, b: F.mse_loss(m(b[0]), b[0])),
        ({"features": X, "mask": X > 0, "price": Y}, lambda m, b: None),
    ],
    ids=["two views", "two views in one", "unknown pair", "given", "an index", "an autoencoder", "a mask of padding"],
)
def test_the_second_of_a_pair_is_no_target_where_the_step_says_otherwise(batch: Any, step: Any) -> None:
    rows = table(batch, module=Net(), step=lambda module, batch: (step(module, batch), None)[1])
    assert len(rows) == B
    assert not any(key.startswith("target") for key in rows[0])


def _and_back(m: Any, b: Any) -> None:
    scores = m(b[0][ORDER])
    F.cross_entropy(scores[ORDER.argsort()], b[1])


STEPS: dict[str, tuple[Any, bool]] = {
    "the batch": (lambda m, b: m(b[0]), True),
    "a view": (lambda m, b: m(b[0].view(B, 1, 3).squeeze(1)), True),
    "a copy": (lambda m, b: m(b[0].double().float()), True),
    "by name": (lambda m, b: m(x=b[0]), True),
    "a later call with another order": (lambda m, b: (m(b[0]), m(b[0][ORDER])), True),
    "sorted, and back, with a loss": (_and_back, True),
    "scaled, with a loss": (lambda m, b: F.cross_entropy(m(b[0] * 1.0 + 0.0), b[1]), True),
    "sorted": (lambda m, b: m(b[0][ORDER]), False),
    "sorted, with a loss": (lambda m, b: F.cross_entropy(m(b[0][ORDER]), b[1][ORDER]), False),
    "sorted by a child": (lambda m, b: m.net(b[0][ORDER]), False),
    "sorted inside": (lambda m, b: m(b[0], ORDER), False),
    "turned": (lambda m, b: m(b[0].flip(0)), False),
    "noise": (lambda m, b: m(torch.randn(B, 3)), False),
    "noise, with a loss of its own": (lambda m, b: F.mse_loss(m(torch.randn(B, 3)), torch.ones(B, 3)), False),
    "normalised": (lambda m, b: m((b[0] - 2.5) / torch.tensor([0.5, 2, 4])), True),
    "normalised in place": (lambda m, b: m(b[0].sub_(2.5).div_(0.5)), True),
    "normalised, in another order": (lambda m, b: m(((b[0] - 2.5) / 0.5)[ORDER]), False),
    "turned over": (lambda m, b: m(-b[0].flip(0)), False),
    "other columns": (lambda m, b: m(b[0].flip(1).contiguous()), True),
    "other columns, in another order": (lambda m, b: m(b[0].flip(1)[ORDER]), False),
    "mixed": (lambda m, b: m((b[0] + b[0][ORDER]) / 2), False),
    "beside another order": (lambda m, b: m(b[0], b[0][ORDER]), False),
}


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("returning", [False, True])
def test_a_prediction_is_of_its_own_sample(kind: str, returning: bool) -> None:
    step, shown = STEPS[kind]
    module = Net()

    def run(module: Any, batch: Any) -> Any:
        found = step(module, batch)
        return found if returning and torch.is_tensor(found) and found.dim() else None

    rows = table((X.clone(), Y), module=module, step=run)
    assert [first(row, "target") for row in rows] == Y.tolist()
    given = {"normalised": (X - 2.5) / torch.tensor([0.5, 2, 4]), "other columns": X.flip(1)}
    given["normalised in place"] = (X - 2.5) / 0.5
    assert shows(rows, module.net(given.get(kind, X))) if shown else predicted(rows) is None


def test_a_prediction_that_is_returned_by_name_for_another_order_is_refused() -> None:
    rows = table((X, Y), module=Net(), step=lambda module, batch: {"preds": module(batch[0][ORDER])})
    assert predicted(rows) is None


def _one_by_one(order: Any) -> Any:
    def step(module: Any, batch: Any) -> Any:
        scores = torch.cat([module.net(batch[0][one : one + 1]) for one in order])
        F.cross_entropy(scores, batch[1][list(order)] if list(order) != [*range(B)] else batch[1])
        return {"logits": scores}

    return step


def _ranked(value: Any) -> Any:
    return value[value.max(1).values.argsort(descending=True)]


#: What a step returns by name, whether it is shown, and as what: the model's scores, and the same in the order of the samples.
RETURNED: dict[str, tuple[Any, Any]] = {
    "scores": (lambda m, b: m(b[0]), lambda scores: scores),
    "shares": (lambda m, b: m(b[0]).softmax(1), lambda scores: scores.softmax(1)),
    "classes as a list": (lambda m, b: m(b[0]).argmax(1).tolist(), lambda scores: scores.argmax(1)[:, None]),
    "numbers as an array": (lambda m, b: m(b[0]).detach().numpy(), lambda scores: scores),
    "scaled back": (lambda m, b: m(b[0]) * 7 + 30, lambda scores: scores * 7 + 30),
    "above a limit": (lambda m, b: (m(b[0]).sigmoid() > 0.3).long(), lambda scores: (scores.sigmoid() > 0.3).float()),
    "ranked": (lambda m, b: _ranked(m(b[0]).softmax(1)), None),
    "ranked, of a child": (lambda m, b: _ranked(m.net(b[0]).softmax(1)), None),
    "ranked, scaled back": (lambda m, b: _ranked(m(b[0])) * 7 + 30, None),
    "shares in another order": (lambda m, b: m(b[0]).softmax(1)[ORDER], None),
    "as many boxes as samples": (lambda m, b: torch.tensor([[0.0, 0, 4, 4], [2, 2, 6, 6]] * 2), None),
    "boxes beside the scores": (lambda m, b: (m(b[0]), torch.tensor([[0.0, 1, 4, 4], [2, 2, 6, 6]] * 2))[1], None),
    "texts": (lambda m, b: (m(b[0]), ["a", "b", "c", "d"])[1], None),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_what_is_returned_by_name_is_shown_where_its_rows_are_those_of_an_output(kind: str) -> None:
    step, expected = RETURNED[kind]
    module = Net()
    rows = table((X, Y), module=module, step=lambda module, batch: {"preds": step(module, batch)})
    assert [first(row, "target") for row in rows] == Y.tolist()
    assert predicted(rows) is None if expected is None else shows(rows, expected(module.net(X)).float())


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0]])
def test_a_model_that_is_called_for_each_sample_is_believed_where_a_loss_had_the_targets(order: list[int]) -> None:
    # The classes are the same from both ends, so that they do not show the order.
    module, same = Net(), torch.tensor([2, 0, 0, 2])
    rows = table((X, same), module=module, step=_one_by_one(order))
    assert shows(rows, module.net(X)) if order == [0, 1, 2, 3] else predicted(rows) is None


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_step_that_puts_its_samples_in_another_order_in_place_has_no_predictions(whole: bool, named: bool) -> None:
    module = Model(lambda net, given: net(given[0] if isinstance(given, tuple) else given))

    def step(module: Any, batch: Any) -> Any:
        for part in batch:
            part.copy_(part[ORDER].clone())
        scores = module(batch if whole else batch[0])
        F.cross_entropy(scores, batch[1])
        return {"preds": scores} if named else None

    rows = table((X.clone(), Y.clone()), module=module, step=step)
    assert [first(row, "input") for row in rows] == X[:, 0].int().tolist()
    assert predicted(rows) is None


@pytest.mark.parametrize("loss", [F.cross_entropy, lambda scores, wanted: None])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_images_that_are_converted_in_the_step_have_predictions(order: list[int], loss: Any) -> None:
    torch.manual_seed(5)
    pictures = torch.randint(0, 256, (B, 6, 6, 3), dtype=torch.uint8)
    module = Model(lambda net, x: net(x.mean((2, 3))))

    def step(module: Any, batch: Any) -> None:
        loss(module(batch[0][order].permute(0, 3, 1, 2).contiguous().float()), batch[1][order])

    rows = table((pictures, Y), module=module, step=step)
    found = module(pictures.permute(0, 3, 1, 2).float())
    assert shows(rows, found) if order == [0, 1, 2, 3] else predicted(rows) is None


def test_records_that_a_step_returns_are_shown_where_they_are_those_of_the_model() -> None:
    records = [{"boxes": torch.full((number, 4), float(number))} for number in range(B)]
    module = PutsOut(records)
    own = table((X, Y), module=module, step=lambda module, batch: module(batch[0]))
    turned = table((X, Y), module=module, step=lambda module, batch: module(batch[0])[::-1])
    assert len(own[3]["prediction_boxes"]) > len(own[1]["prediction_boxes"]) > 0
    # What the step returned is none, and the model's own output is one.
    assert [row["prediction_boxes"] for row in turned] == [row["prediction_boxes"] for row in own]


def test_a_mask_beside_the_ids_of_tokens_is_no_other_sample() -> None:
    ids = torch.tensor([[3, 1, 4], [1, 5, 9], [2, 6, 5], [3, 5, 8]])
    batch = {"input_ids": ids, "attention_mask": torch.ones(B, 3).long(), "labels": Y}
    module = Model(lambda net, ids, mask: net((ids * mask).float()))
    rows = table(batch, module=module, step=lambda m, b: (m(b["input_ids"], b["attention_mask"]), None)[1])
    assert shows(rows, module.net(ids.float()))
    assert not any("mask" in key for key in rows[0])


ENCODED = torch.tensor([[0, 0, 1.0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
LOSSES: dict[str, tuple[Any, Any, Any]] = {
    "an autoencoder's": ([X], torch.nn.MSELoss(reduction="none"), lambda m, b: m.loss(m.net(b[0]), b[0])),
    "of one-hots": ((X, Y), torch.nn.BCEWithLogitsLoss(reduction="none"), lambda m, b: m.loss(m.net(b[0]), ENCODED)),
    "to a teacher": (
        (X, Y),
        torch.nn.KLDivLoss(reduction="none"),
        lambda m, b: m.loss(m.net(b[0]).log_softmax(1), b[0].softmax(1)),
    ),
    "own, of one-hots": (
        (X, Y),
        Own(lambda p, t: -(t * p.log_softmax(1)).sum(1)),
        lambda m, b: m.loss(m.net(b[0]), ENCODED),
    ),
    "own, the target first": (
        (X, Y),
        Own(lambda t, p: (t - p.sum(1)) ** 2),
        lambda m, b: m.loss(b[1].float(), m.net(b[0])),
    ),
    "own, of numbers": ([X], Own(lambda p, t: (p - t) ** 2), lambda m, b: m.loss(m.net(b[0]), b[0])),
    "own, the input first": ([X], Own(lambda t, p: (p - t).abs()), lambda m, b: m.loss(b[0], m.net(b[0]))),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_of_each_sample_is_never_a_prediction(kind: str) -> None:
    batch, loss, step = LOSSES[kind]
    module = Net(loss)
    rows = table(batch, module=module, step=lambda module, batch: (step(module, batch), None)[1])
    assert shows(rows, module.net(X))


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (lambda net, x: ((net(x) - x) ** 2).sum(1), False),
        (lambda net, x: (net(x) - x) ** 2, False),
        (lambda net, x: F.mse_loss(net(x), x, reduction="none"), True),
        (lambda net, x: (((net(x) - x) ** 2).sum(1), net(x)), True),
        (lambda net, x: {"kl": net(x).sum(1), "nll": net(x).mean(1, keepdim=True), "x_rec": net(x)}, True),
        (lambda net, x: (net(x), net(x) * 2), False),
        (lambda net, x: net(x), True),
    ],
    ids=["losses", "losses of numbers", "torch's losses", "a tuple", "a mapping", "two outputs", "the picture"],
)
def test_an_autoencoder_that_returns_its_losses_shows_no_loss(function: Any, shown: bool) -> None:
    module = Model(function)
    rows = table([X], module=module, step=lambda module, batch: (module(batch[0]), None)[1])
    assert shows(rows, module.net(X)) if shown else predicted(rows) is None


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (lambda net, x, y: F.cross_entropy(net(x), y, reduction="none"), True),
        (lambda net, x, y: ((net(x) - F.one_hot(y, 3)) ** 2).sum(1), False),
        (lambda net, x, y: {"loss": net(x).sum(), "logits": net(x)}, True),
    ],
    ids=["torch's losses", "own losses", "scores by name"],
)
def test_a_model_that_is_given_the_targets_shows_no_loss(function: Any, shown: bool) -> None:
    module = Model(function)
    rows = table((X, Y), module=module, step=lambda module, batch: (module(*batch), None)[1])
    assert shows(rows, module.net(X)) if shown else predicted(rows) is None


def test_of_several_outputs_the_one_that_the_loss_was_given_is_the_prediction() -> None:
    module = Model(lambda net, x: (x * 2, net(x)))
    batch = (X, Y)
    silent = table(batch, module=module, step=lambda module, batch: (module(batch[0]), None)[1])
    told = table(batch, module=module, step=lambda module, batch: F.cross_entropy(module(batch[0])[1], batch[1]))
    assert predicted(silent) is None
    assert shows(told, module.net(X))


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (lambda m, b: m.head(m.net(b[0])), True),
        (lambda m, b: (m.net(b[0]), m.head(b[0])), False),
        (lambda m, b: [m.head(one) for one in [m.net(b[0])]] + [m.other(b[0])], False),
    ],
    ids=["one after the other", "two models", "two branches"],
)
def test_only_the_last_of_a_chain_of_children_is_the_prediction(step: Any, shown: bool) -> None:
    module = Net()
    module.head, module.other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    rows = table((X, Y), module=module, step=lambda module, batch: (step(module, batch), None)[1])
    assert shows(rows, module.head(module.net(X))) if shown else predicted(rows) is None


def test_the_parts_of_a_sample_have_no_prediction_of_one_of_them() -> None:
    rows = table(
        ([X, X + 1], Y),
        module=Net(),
        step=lambda module, batch: (module.net(batch[0][0]), module.net(batch[0][1]), None)[2],
        inputs=["0.0", "0.1"],
        targets=["1"],
    )
    assert predicted(rows) is None


def test_torch_is_as_it_was_when_the_step_has_ended() -> None:
    before = {name: getattr(F, name) for name in losses._NAMES}
    one = samples.BatchObserver(Net(), (X, Y), 4)
    other = samples.BatchObserver(Net(), (X, Y), 4)
    assert F.cross_entropy is not before["cross_entropy"]
    one.close()
    assert torch.equal(F.cross_entropy(X, Y), before["cross_entropy"](X, Y))
    other.close()
    assert {name: getattr(F, name) for name in losses._NAMES} == before
    unclear = (X, Y, Y + 1)
    with pytest.raises(roles.UnclearBatchError):
        table(unclear)
    assert F.cross_entropy is before["cross_entropy"]
