"""Detector ``models``: models that scikit-learn, XGBoost, LightGBM, CatBoost and Keras save are captured, without torch too.

==============  ====================================================================  ====================
switch          what it watches                                                       what it emits
==============  ====================================================================  ====================
``pickle``      ``pickle.dump``, ``cloudpickle.dump`` and ``dill.dump`` of a model    MODEL
``joblib``      ``joblib.dump`` of a model                                            MODEL
``skops``       ``skops.io.dump``                                                     MODEL
``xgboost``     ``save_model`` of a ``Booster`` and of the estimators                 MODEL
                the callback ``TrainingCheckPoint``                                   CHECKPOINT
``lightgbm``    ``Booster.save_model``                                                MODEL
``catboost``    ``CatBoost.save_model``                                               MODEL
``keras``       ``Model.save`` and ``Model.export``, ``keras.saving.save_model``      MODEL
                ``Model.save_weights``                                                WEIGHTS
                the callback ``ModelCheckpoint``                                      CHECKPOINT or WEIGHTS
``mlflow``      ``save_model`` of MLflow's flavors                                    MODEL, a folder
==============  ====================================================================  ====================

Each is on unless ``TRACELET_MODELS_<SWITCH>`` says false. The metadata say the class, the library and its version, the
number of features, and those parameters of an estimator that are plain values.

* :mod:`.models`: which objects are models, and what is said of one
* :mod:`.moments`: when in a training a callback saves
* :mod:`.saves`: the functions that are watched
* :mod:`.keras_saves`: those of Keras, and its callback
* :mod:`.xgboost_saves`: XGBoost's callback
* :mod:`.mlflow_saves`: those of MLflow
* :mod:`.inner`: functions that save for a library's own use

Nothing of a framework is imported here: functions are watched once the user's program has imported them.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from tracelet.plugin import Detector, DetectorContext, DetectorSpec, hookimpl

__all__ = ["ModelsSettings", "tracelet_detectors"]


@attrs.frozen
class ModelsSettings:
    """What to watch; read from ``TRACELET_MODELS_*``."""

    #: Capture ``pickle.dump``, ``cloudpickle.dump`` and ``dill.dump`` of a model.
    pickle: bool = True
    #: Capture ``joblib.dump`` of a model.
    joblib: bool = True
    #: Capture ``skops.io.dump`` of a model.
    skops: bool = True
    #: Capture ``save_model`` of XGBoost, and its callback ``TrainingCheckPoint``.
    xgboost: bool = True
    #: Capture ``Booster.save_model`` of LightGBM.
    lightgbm: bool = True
    #: Capture ``save_model`` of the models of CatBoost.
    catboost: bool = True
    #: Capture what Keras saves and exports, and its callback ``ModelCheckpoint``.
    keras: bool = True
    #: Capture ``save_model`` of the flavors of MLflow.
    mlflow: bool = True


def _create(settings: ModelsSettings, context: DetectorContext) -> Detector:
    from tracelet.builtin.model_saves.inner import INNER
    from tracelet.builtin.model_saves.keras_saves import KERAS_CALLBACKS, KERAS_SAVES
    from tracelet.builtin.model_saves.mlflow_saves import MLFLOW_SAVES
    from tracelet.builtin.model_saves.moments import Checkpoints
    from tracelet.builtin.model_saves.saves import SAVES
    from tracelet.builtin.model_saves.xgboost_saves import XGBOOST_CALLBACKS
    from tracelet.builtin.saves.detector import SavesDetector
    from tracelet.builtin.saves.save import Save

    functions: tuple[Save | Checkpoints, ...] = (
        *SAVES,
        *KERAS_SAVES,
        *KERAS_CALLBACKS,
        *XGBOOST_CALLBACKS,
        *MLFLOW_SAVES,
    )
    return SavesDetector([*INNER, *(one for one in functions if getattr(settings, one.switch))], context)


@hookimpl
def tracelet_detectors() -> Iterable[DetectorSpec]:
    """Provide the detector ``models``."""
    return [DetectorSpec(name="models", create=_create, settings=ModelsSettings)]
