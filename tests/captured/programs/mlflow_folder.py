"""Save a model of scikit-learn as a folder of MLflow."""

import mlflow.sklearn
import numpy as np
from sklearn.linear_model import LogisticRegression

rows = np.arange(16.0).reshape(8, 2)
model = LogisticRegression().fit(rows, rows[:, 0] > 7)
mlflow.sklearn.save_model(model, "out/packaged", skops_trusted_types=[])
