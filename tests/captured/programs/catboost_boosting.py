"""Boost with CatBoost, and save the model."""

import numpy as np
from catboost import CatBoostRegressor

rows = np.random.default_rng(0).random((40, 3))
model = CatBoostRegressor(
    iterations=4, depth=2, thread_count=1, random_seed=0, verbose=False, train_dir="catboost_info"
)
model.fit(rows, rows[:, 0])
model.save_model("out/regressor.cbm")
losses = model.get_evals_result()["learn"]["RMSE"]
