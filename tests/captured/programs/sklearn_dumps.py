"""Fit two estimators of scikit-learn, and save them by joblib and by pickle."""

import pickle

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows = np.random.default_rng(0).random((40, 3))
labels = rows[:, 0] > 0.5
joblib.dump(RandomForestClassifier(5, random_state=0).fit(rows, labels), "out/forest.joblib", compress=3)
with open("out/pipeline.pkl", "wb") as file:
    pickle.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels), file)
