"""Train a model of sentences with sentence-transformers, and save it."""

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer, models

torch.manual_seed(0)
words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[PAD]": 2}, unk_token="a"))
model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=8)])
trainer = SentenceTransformerTrainer(
    model=model,
    args=SentenceTransformerTrainingArguments(
        "out/run",
        max_steps=4,
        save_steps=2,
        logging_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"one": ["a", "b", "a", "b"], "other": ["b", "a", "b", "a"]}),
    loss=MultipleNegativesRankingLoss(model),
)
trainer.train()
model.save("out/sentences")
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
