"""The programs, each of which uses a library as its users do, and the things that it saves."""

from __future__ import annotations

import attrs

__all__ = ["PROGRAMS", "Program", "Thing"]


@attrs.frozen
class Thing:
    """Something that a person would say a program saves: it is one artifact."""

    #: What saves it.
    call: str
    name: str
    type: str
    #: How often it is saved.
    versions: int = 1


@attrs.frozen
class Program:
    """One of the programs."""

    name: str
    library: str
    things: tuple[Thing, ...]
    environ: dict[str, str] = attrs.field(factory=dict, hash=False)
    #: How many processes torchrun starts; None where the program is started by itself.
    processes: int | None = None
    #: Whether the directory is watched, and nothing else is.
    watched_alone: bool = False
    #: Whether it has losses to compare.
    trains: bool = True


def _lightning(package: str) -> Program:
    things = (
        Thing(
            "`ModelCheckpoint`, with `{epoch}-{step}-{val/acc:.2f}` and `save_last`", "net-checkpoint", "checkpoint", 4
        ),
        Thing("the validation", "net-samples", "sample", 2),
        Thing("the end of `fit`", "net-model", "model"),
    )
    return Program("lightning_checkpoints", f"`{package}`", things, {"PACKAGE": package})


PROGRAMS = (
    _lightning("lightning.pytorch"),
    _lightning("pytorch_lightning"),
    Program(
        "transformers_trainer",
        "transformers",
        (
            Thing(
                "`Trainer.train`, with `load_best_model_at_end`",
                "bert-for-sequence-classification-checkpoint",
                "checkpoint",
                3,
            ),
            Thing("`Trainer.save_model`", "final-model", "model"),
        ),
    ),
    Program(
        "trl_sft",
        "TRL",
        (
            Thing("`SFTTrainer.train` of an adapter", "peft-model-checkpoint", "checkpoint", 2),
            Thing("`SFTTrainer.save_model`", "adapter-weights", "weights"),
            Thing("its page about the model, in a watched directory", "run.README-report", "report"),
        ),
    ),
    Program(
        "sentence_transformers_trainer",
        "sentence-transformers",
        (
            Thing("`SentenceTransformerTrainer.train`", "sentence-transformer-checkpoint", "checkpoint", 2),
            Thing("`SentenceTransformer.save`", "sentences-model", "model"),
        ),
    ),
    Program(
        "accelerate_state",
        "accelerate",
        (
            Thing("`save_state`", "epoch-checkpoint", "checkpoint", 3),
            Thing("`save_model`", "net-weights", "weights"),
        ),
    ),
    Program("peft_adapter", "PEFT", (Thing("`save_pretrained`", "lora-weights", "weights", 2),), trains=False),
    Program("diffusers_pipeline", "diffusers", (Thing("`save_pretrained`", "pipeline-model", "model"),), trains=False),
    Program("spacy_pipeline", "spaCy", (Thing("`to_disk`", "reviews-model", "model", 2),)),
    Program(
        "deepspeed_engine",
        "DeepSpeed",
        (Thing("`save_checkpoint`, with ZeRO", "deepspeed-checkpoint", "checkpoint", 2),),
        processes=1,
    ),
    Program(
        "torch_fsdp",
        "torch",
        (
            Thing(
                "`torch.distributed.checkpoint.save` and `async_save`, of FSDP in two processes",
                "step-checkpoint",
                "checkpoint",
                3,
            ),
        ),
        processes=2,
    ),
    Program(
        "torch_atomic",
        "torch",
        (
            Thing("`NamedTemporaryFile`, `torch.save` and `os.replace`", "last-checkpoint", "checkpoint", 3),
            Thing("`torch.save` of a state dict", "weights", "weights"),
            Thing("`torch.save` of a module", "net-model", "model"),
        ),
    ),
    Program(
        "keras_fit",
        "Keras",
        (
            Thing("`ModelCheckpoint`, with `save_best_only`", "net-checkpoint", "checkpoint", 3),
            Thing("`Model.save`", "final-model", "model"),
            Thing("`Model.save_weights`", "final.weights", "weights"),
        ),
    ),
    Program("orbax_manager", "Orbax", (Thing("`CheckpointManager.save`", "run-checkpoint", "checkpoint", 3),)),
    Program(
        "tensorflow_checkpoint",
        "TensorFlow",
        (
            Thing("`CheckpointManager.save`", "run.ckpt-checkpoint", "checkpoint", 2),
            Thing("`Checkpoint.write`", "last-checkpoint", "checkpoint"),
        ),
    ),
    Program(
        "onnx_external_data",
        "ONNX",
        (
            Thing("`torch.onnx.export`, with `external_data`", "exported-model", "model"),
            Thing("`onnx.save`, with `save_as_external_data`", "saved-model", "model"),
        ),
        trains=False,
    ),
    Program(
        "safetensors_shards",
        "transformers",
        (Thing("`save_pretrained` in shards, seen by the detector `filesystem` alone", "sharded-model", "model"),),
        watched_alone=True,
        trains=False,
    ),
    Program(
        "rasters",
        "rasterio, Zarr",
        (
            Thing("a GeoTIFF and its overviews", "height-image", "image"),
            Thing("a Zarr group", "features-dataset", "dataset"),
            Thing("a picture in OME-Zarr", "cells.ome-dataset", "dataset"),
        ),
        trains=False,
    ),
    Program(
        "parquet_dataset",
        "pyarrow",
        (Thing("`write_to_dataset` and `write_metadata`", "visits-dataset", "dataset"),),
        trains=False,
    ),
    Program(
        "mlflow_folder",
        "MLflow",
        (Thing("`mlflow.sklearn.save_model`", "packaged-model", "model"),),
        trains=False,
    ),
    Program(
        "sklearn_dumps",
        "scikit-learn",
        (
            Thing("`joblib.dump`, compressed", "forest-model", "model"),
            Thing("`pickle.dump`", "pipeline-model", "model"),
        ),
        trains=False,
    ),
    Program(
        "xgboost_boosting",
        "XGBoost",
        (
            Thing("`TrainingCheckPoint`", "boosting-checkpoint", "checkpoint", 2),
            Thing("`Booster.save_model`", "booster-model", "model"),
            Thing("`XGBRegressor.save_model`", "regressor-model", "model"),
        ),
    ),
    Program(
        "lightgbm_boosting",
        "LightGBM",
        (
            Thing("`Booster.save_model`", "booster-model", "model"),
            Thing("`joblib.dump` of an estimator", "regressor-model", "model"),
        ),
    ),
    Program("catboost_boosting", "CatBoost", (Thing("`save_model`", "regressor-model", "model"),)),
)
