"""Models that are saved without torch's functions are captured, and come back as they were."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import BuiltinFunctionType, FunctionType

import joblib
import numpy as np
import pytest
import skops.io
import xgboost
from making import elsewhere
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tracelet import Experiment
from tracelet.builtin.model_saves.inner import INNER
from tracelet.builtin.model_saves.keras_saves import KERAS_CALLBACKS, KERAS_SAVES
from tracelet.builtin.model_saves.mlflow_saves import MLFLOW_SAVES
from tracelet.builtin.model_saves.saves import SAVES
from tracelet.builtin.model_saves.xgboost_saves import XGBOOST_CALLBACKS
from tracelet.builtin.saves.trackers import TEMPORARY_PLACES
from tracelet.core.plugins.registry import registry
from tracelet.testing import DetectorContract

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


def pipeline(**settings: object) -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(C=2.0), **settings).fit(X, Y)


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
    with open("plain.pkl", "wb") as file:
        pickle.dump(model, file)
    boosted = xgboost.XGBClassifier(n_estimators=2).fit(X, Y)
    boosted.save_model("boosted.ubj")
    # None of these is a model, or is saved for the user.
    with open("unfitted.pkl", "wb") as file:
        pickle.dump(LogisticRegression(), file)
    with open("dict.pkl", "wb") as file:
        pickle.dump({"model": model}, file)
    pipeline(memory="cache")
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


def test_every_function_that_is_watched_is_there() -> None:
    missing = []
    for one in (*SAVES, *KERAS_SAVES, *KERAS_CALLBACKS, *XGBOOST_CALLBACKS, *MLFLOW_SAVES, *INNER, *TEMPORARY_PLACES):
        if find_spec(one.module.partition(".")[0]) is None:
            continue
        function = attrgetter(one.function)(import_module(one.module))
        if not isinstance(function, FunctionType | BuiltinFunctionType):
            missing.append(str(one))
    assert not missing


def test_the_detector_is_on_the_list() -> None:
    assert registry().detectors.get("models").switch == "automagic_artifacts"
