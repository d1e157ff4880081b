"""Boost with LightGBM, and save the model as text and the estimator by joblib."""

import joblib
import lightgbm as lgb
import numpy as np

rows = np.random.default_rng(0).random((60, 3))
results = {}
data = lgb.Dataset(rows, rows[:, 0])
how = {"objective": "regression", "num_threads": 1, "deterministic": True, "verbose": -1, "metric": "l2"}
booster = lgb.train(how, data, 4, valid_sets=[data], callbacks=[lgb.record_evaluation(results)])
booster.save_model("out/booster.txt")
joblib.dump(lgb.LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1).fit(rows, rows[:, 0]), "out/regressor.joblib")
losses = results["training"]["l2"]
