"""Fine-tune with transformers' ``Trainer``, keep the two best checkpoints, and save the model at the end."""

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

torch.manual_seed(0)
sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=2, **sizes))
rows = [{"input_ids": torch.arange(6) + number % 3, "labels": number % 2} for number in range(16)]
arguments = TrainingArguments(
    "out/run",
    max_steps=6,
    save_steps=2,
    save_total_limit=2,
    eval_strategy="steps",
    eval_steps=2,
    load_best_model_at_end=True,
    logging_steps=1,
    per_device_train_batch_size=4,
    learning_rate=1e-2,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
)
trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
trainer.train()
trainer.save_model("out/final")
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
