"""Train with TensorFlow, and save checkpoints by its ``CheckpointManager``."""

import tensorflow as tf

weights = tf.Variable(tf.zeros(4))
optimizer = tf.keras.optimizers.SGD(0.1)
rows = tf.reshape(tf.range(16.0), (4, 4)) / 16
manager = tf.train.CheckpointManager(tf.train.Checkpoint(weights=weights), "out/run", max_to_keep=3)
losses = []
for _ in range(2):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((tf.linalg.matvec(rows, weights) - 1) ** 2)
    optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
    losses.append(float(loss))
    manager.save()
tf.train.Checkpoint(weights=weights).write("out/last")
