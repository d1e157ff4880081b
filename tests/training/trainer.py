"""Train with transformers' ``Trainer``: eight steps, a checkpoint at every second, and only one kept on disk."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

NAME = "bert-for-sequence-classification-checkpoint"


class Sentences(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> dict[str, object]:
        ids = torch.arange(6) + number % 3
        return {"input_ids": ids, "attention_mask": torch.ones(6, dtype=torch.long), "labels": number % 2}


def train(resumed: Path | None = None) -> dict[int, float]:
    """Return the loss of each step."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=2, **sizes))
    arguments = TrainingArguments(
        "out",
        max_steps=8,
        save_steps=2,
        save_total_limit=1,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=Sentences(), eval_dataset=Sentences())
    callbacks = list(trainer.callback_handler.callbacks)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    assert trainer.callback_handler.callbacks == callbacks
    assert all(isinstance(one, TrainerCallback) for one in callbacks)
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
