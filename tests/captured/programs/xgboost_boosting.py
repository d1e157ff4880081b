"""Boost with XGBoost and its ``TrainingCheckPoint``, and save the model."""

import numpy as np
import xgboost as xgb

rows = np.random.default_rng(0).random((40, 3))
data, results = xgb.DMatrix(rows, label=rows[:, 0]), {}
checkpoint = xgb.callback.TrainingCheckPoint("out", name="boosting", interval=2)
how = {"verbose_eval": False, "evals": [(data, "train")], "evals_result": results}
booster = xgb.train({"max_depth": 2}, data, 6, callbacks=[checkpoint], **how)
booster.save_model("out/booster.json")
xgb.XGBRegressor(n_estimators=3).fit(rows, rows[:, 0]).save_model("out/regressor.ubj")
losses = results["train"]["rmse"]
