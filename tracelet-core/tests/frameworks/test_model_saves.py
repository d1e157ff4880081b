"""Models that are saved without torch's functions are captured, and come back as they were."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import joblib
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from making import elsewhere
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tracelet import Experiment, ExperimentConfig
from tracelet.builtin.model_saves.inner import INNER
from tracelet.builtin.model_saves.keras_saves import KERAS_CALLBACKS, KERAS_SAVES
from tracelet.builtin.model_saves.saves import SAVES
from tracelet.builtin.model_saves.xgboost_saves import XGBOOST_CALLBACKS
from tracelet.builtin.saves.trackers import TRACKERS_FOLDERS
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.plugins.registry import registry
from tracelet.core.system.saves import being_saved, saving
from tracelet.testing import DetectorContract

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


Run = Callable[..., Experiment]


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    """Start an experiment that captures; it is stopped in the end."""
    made: list[Experiment] = []

    def start(**config: Any) -> Experiment:
        exp = Experiment("saving", artifacts=True, automagic_artifacts=True, config=ExperimentConfig(**config))
        made.append(exp.start())
        return exp

    yield start
    for exp in made:
        exp.stop()


def versions(exp: Experiment) -> dict[str, list[LoggedArtifact]]:
    """Return what is stored by name, oldest first."""
    found: dict[str, list[LoggedArtifact]] = {}
    for one in sorted(exp.list_artifacts(), key=lambda one: int(one.version[1:])):
        found.setdefault(one.name, []).append(one)
    return found


def pipeline(**settings: object) -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(C=2.0), **settings).fit(X, Y)


def pickled(thing: object, path: str) -> None:
    with open(path, "wb") as file:
        pickle.dump(thing, file)


class TestTheContract(DetectorContract):
    @pytest.fixture
    def detector(self) -> str:
        return "models"

    @pytest.fixture
    def provoke(self, tmp_path: Path) -> Callable[[], Path]:
        numbers = iter(range(100))

        def save() -> Path:
            path = tmp_path / f"model-{next(numbers)}.joblib"
            joblib.dump(pipeline(), path)
            return path

        return save


def test_saved_models_are_captured_and_predict_the_same_elsewhere(home: Path) -> None:
    own = pickle.dump
    exp = Experiment("saving", artifacts=True, automagic_artifacts=True).start()
    model = pipeline()
    joblib.dump(model, "packed.joblib", compress=3)
    skops.io.dump(model, "open.skops")
    pickled(model, "plain.pkl")
    boosted = xgboost.XGBClassifier(n_estimators=2).fit(X, Y)
    boosted.save_model("boosted.ubj")
    # None of these is a model, or is saved for the user.
    pickled(LogisticRegression(), "unfitted.pkl")
    pickled({"model": model}, "dict.pkl")
    pipeline(memory="cache")
    joblib.Parallel(n_jobs=2, max_nbytes=1)(joblib.delayed(model.score)(part, Y) for part in (X, X))
    exp.stop()
    assert pickle.dump is own
    found = {one.name: one for one in exp.list_artifacts()}
    assert set(found) == {"packed-model", "open-model", "plain-model", "boosted-model"}
    assert {one.type.value for one in found.values()} == {"model"}
    assert found["packed-model"].metadata["class"] == "sklearn.pipeline:Pipeline"
    assert found["packed-model"].metadata["n_features_in"] == 3
    assert found["boosted-model"].metadata["params"]["n_estimators"] == 2
    answers = elsewhere(
        f"""
        import joblib, numpy, pickle, skops.io, xgboost
        from tracelet import Experiment
        exp, x = Experiment("saving", artifacts=True), numpy.array({X.tolist()})
        def path(name): return exp.get_artifact(name + "-model").download()
        boosted = xgboost.XGBClassifier()
        boosted.load_model(path("boosted") / "boosted.ubj")
        models = [
            joblib.load(path("packed") / "packed.joblib"),
            skops.io.load(path("open") / "open.skops"),
            pickle.loads((path("plain") / "plain.pkl").read_bytes()),
            boosted,
        ]
        answer([model.predict_proba(x).tolist() for model in models])
        """,
        cwd=home.parent / "other",
        TRACELET_DIR=str(home / ".tracelet"),
    )
    same = model.predict_proba(X).tolist()
    assert answers == [same, same, same, boosted.predict_proba(X).tolist()]


def test_callbacks_and_loops_give_versions_of_one_name_where_the_library_counts(run: Run, home: Path) -> None:
    """XGBoost counts iterations; a number that the user wrote is a part of the name: it may count folds, which are no steps."""
    exp = run()
    data = xgboost.DMatrix(X, Y)
    for start, as_pickle in ((None, False), ("boost_3.ubj", True)):
        saver = xgboost.callback.TrainingCheckPoint(home, "boost", as_pickle=as_pickle, interval=1)
        xgboost.train({}, data, 4, evals=[(data, "train")], verbose_eval=False, callbacks=[saver], xgb_model=start)
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, Y), 2)
    booster.save_model("trees.txt")
    for fold in range(2):
        pickled(lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X[fold:], Y[fold:]), f"fold{fold}.pkl")
    exp.stop()
    stored = versions(exp)
    assert {name: len(found) for name, found in stored.items()} == {
        "boost-checkpoint": 6,
        "trees-model": 1,
        "fold0-model": 1,
        "fold1-model": 1,
    }
    checkpoints = stored["boost-checkpoint"]
    assert {one.type.value for one in checkpoints} == {"checkpoint"}
    assert [one.metadata["iteration"] for one in checkpoints] == [1, 2, 3, 5, 6, 7]
    assert [one.aliases for one in checkpoints] == [()] * 5 + [("last",)]
    losses = [one.metadata["metrics"]["train-rmse"] for one in checkpoints]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 6
    (trees,) = stored["trees-model"]
    again = lightgbm.Booster(model_file=trees.download() / "trees.txt")
    assert again.predict(X).tolist() == booster.predict(X).tolist()
    assert stored["fold1-model"][0].metadata["class"] == "lightgbm.sklearn:LGBMClassifier"
    assert stored["fold1-model"][0].metadata["params"]["n_estimators"] == 2


KERAS = """
    import os
    os.environ["KERAS_BACKEND"] = "torch"
    import numpy
    from tracelet import Experiment
    exp = Experiment("keras", artifacts=True, automagic_artifacts=True).start()
    import keras
    from keras.callbacks import BackupAndRestore, ModelCheckpoint

    x = numpy.linspace(0, 1, 24).reshape(8, 3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callbacks = [
        ModelCheckpoint("net-{epoch:02d}-{val_loss:.2f}.keras"),
        ModelCheckpoint("steps/{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=2),
        ModelCheckpoint("best.keras", save_best_only=True, monitor="loss"),
        BackupAndRestore("backup"),
    ]
    fitting = dict(batch_size=2, epochs=3, verbose=0, validation_data=(x, x[:, 0]))
    model.fit(x, x[:, 0], callbacks=callbacks, **fitting)
    model.save("whole.keras")
    model.save_weights("whole.weights.h5")
    exp.stop()
    model.save("later.keras")
    stored = {}
    for one in sorted(exp.list_artifacts(), key=lambda one: int(one.version[1:])):
        said = {key: one.metadata[key] for key in ("epoch", "batch") if key in one.metadata}
        keys = sorted(one.metadata.get("metrics", ()))
        stored.setdefault(one.name, []).append([one.type.value, said, keys, sorted(one.aliases)])
    again = keras.saving.load_model(exp.get_artifact("whole-model").download() / "whole.keras")
    same = numpy.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    again.load_weights(exp.get_artifact("net-checkpoint", "v0").download().rglob("*.keras").__next__())
    answer([stored, same])
"""


def test_what_keras_saves_is_captured_and_its_checkpoints_are_versions_with_epochs(tmp_path: Path) -> None:
    stored, same = elsewhere(KERAS, cwd=tmp_path)
    metrics = ["loss", "val_loss"]
    assert stored == {
        "net-checkpoint": [["checkpoint", {"epoch": n}, metrics, ["last"] if n == 3 else []] for n in (1, 2, 3)],
        "best-checkpoint": [
            ["checkpoint", {"epoch": n}, metrics, ["best", "last"] if n == 3 else []] for n in (1, 2, 3)
        ],
        "weights": [
            ["weights", {"epoch": epoch, "batch": batch}, ["loss"], ["last"] if (epoch, batch) == (3, 4) else []]
            for epoch in (1, 2, 3)
            for batch in (2, 4)
        ],
        "whole-model": [["model", {}, [], []]],
        "whole.weights": [["weights", {}, [], []]],
    }
    assert same


BARE = """
    import sys, tempfile
    asked = []

    class NoTorch:
        def find_spec(self, name, path, target=None):
            if name.partition(".")[0] in ("torch", "safetensors"):
                asked.append(name)
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NoTorch())
    from tracelet import Experiment
    exp = Experiment("bare", artifacts=True, automagic_artifacts=True).start()
    import joblib, numpy, xgboost
    from sklearn.linear_model import LogisticRegression

    x = numpy.arange(12.0).reshape(6, 2)
    model = LogisticRegression().fit(x, x[:, 0] > 4)
    joblib.dump(model, "model.joblib")
    xgboost.XGBClassifier(n_estimators=1).fit(x, x[:, 0] > 4).save_model("boosted.ubj")
    watched = (tempfile.mkdtemp, joblib.dump, xgboost.Booster.save_model, xgboost.XGBModel.save_model)
    during = [function.__code__.co_argcount for function in watched]
    exp.stop()
    after = [function.__code__.co_argcount for function in watched]
    joblib.dump(model, "later.joblib")
    answer([
        sorted(one.name for one in exp.list_artifacts()), during, after,
        [str(one) for one in sys.meta_path if type(one).__module__.startswith("tracelet")], asked, sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "safetensors", "keras", "lightgbm"}),
    ])
"""


def test_without_torch_models_are_captured_and_nothing_of_the_watch_remains(tmp_path: Path) -> None:
    """The libraries are imported after the start; torch is asked for by nobody."""
    names, during, after, finders, asked, loaded = elsewhere(BARE, cwd=tmp_path)
    assert names == ["boosted-model", "model"]
    assert during == [0, 0, 0, 0]
    assert all(count > 0 for count in after)
    assert [finders, asked, loaded] == [[], [], []]


class Unwilling:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> str:
        raise self.error


def test_a_save_that_raises_gives_the_users_error_and_captures_nothing(run: Run, home: Path) -> None:
    exp = run()
    model, error = LogisticRegression().fit(X, Y), RuntimeError("not this one")
    model.extra_ = Unwilling(error)
    for save in (joblib.dump, pickled):
        with pytest.raises(RuntimeError) as caught:
            save(model, "model.pkl")
        assert caught.value is error
        assert not being_saved(home / "model.pkl")
    with saving(home / "other.pkl") as outermost:
        assert outermost
    del model.extra_
    joblib.dump(model, "model.pkl")
    exp.stop()
    assert {name: len(found) for name, found in versions(exp).items()} == {"model": 1}


def test_threads_that_save_at_once_are_all_captured_once_and_watched_directories_add_nothing(
    run: Run, home: Path
) -> None:
    (home / "saved").mkdir()
    exp = run(watch_filesystem=True, artifact_watch_dirs=["saved"])
    together = threading.Barrier(8)

    def save(number: int) -> None:
        model = LogisticRegression(C=number + 1).fit(X, Y)
        together.wait()
        if number % 2:
            joblib.dump(model, f"saved/model-{number}.joblib")
        else:
            pickled(model, f"saved/model-{number}.pkl")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(8)))
    lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, Y), 2).save_model("saved/trees.txt")
    xgboost.XGBClassifier(n_estimators=2).fit(X, Y).save_model("saved/boosted.json")
    exp.stop()
    stored = versions(exp)
    assert set(stored) == {*(f"model-{number}-model" for number in range(8)), "trees-model", "boosted-model"}
    assert {len(found) for found in stored.values()} == {1}
    assert {one.type.value for found in stored.values() for one in found} == {"model"}
    assert {stored[f"model-{number}-model"][0].metadata["params"]["C"] for number in range(8)} == set(range(1, 9))


def test_every_function_that_is_watched_is_there() -> None:
    missing = []
    for one in (*SAVES, *KERAS_SAVES, *KERAS_CALLBACKS, *XGBOOST_CALLBACKS, *INNER, TRACKERS_FOLDERS):
        if find_spec(one.module.partition(".")[0]) is None:
            continue
        function = attrgetter(one.function)(import_module(one.module))
        if not isinstance(function, FunctionType | BuiltinFunctionType):
            missing.append(str(one))
    assert not missing


def test_the_detector_is_on_the_list() -> None:
    assert registry().detectors.get("models").switch == "automagic_artifacts"
