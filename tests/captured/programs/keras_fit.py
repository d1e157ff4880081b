"""Train with Keras and its ``ModelCheckpoint``, and save the model and its weights."""

import keras
import numpy as np

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")
rows = np.arange(64, dtype="float32").reshape(16, 4) / 64
saver = keras.callbacks.ModelCheckpoint("out/net-{epoch:02d}.keras", monitor="loss", save_best_only=True)
losses = model.fit(rows, rows.sum(1), epochs=3, batch_size=8, callbacks=[saver], verbose=0).history["loss"]
model.save("out/final.keras")
model.save_weights("out/final.weights.h5")
