"""Train with JAX, and keep the checkpoints of a ``CheckpointManager``, which Orbax writes in the background."""

from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

weights, rows = jnp.zeros(4), jnp.arange(16.0).reshape(4, 4) / 16
step = jax.jit(jax.value_and_grad(lambda weights: jnp.mean((rows @ weights - 1) ** 2)))
losses = []
with ocp.CheckpointManager(Path("out/run").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=1)) as manager:
    for number in range(3):
        loss, gradient = step(weights)
        weights = weights - 0.1 * gradient
        losses.append(float(loss))
        manager.save(number, args=ocp.args.StandardSave({"weights": weights}), metrics={"loss": float(loss)})
    manager.wait_until_finished()
