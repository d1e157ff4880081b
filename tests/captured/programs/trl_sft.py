"""Fine-tune an adapter with TRL's ``SFTTrainer``."""

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

torch.manual_seed(0)
sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[END]": 2}, unk_token="a"))
trainer = SFTTrainer(
    LlamaForCausalLM(LlamaConfig(vocab_size=3, **sizes)),
    SFTConfig(
        "out/run",
        max_steps=4,
        save_steps=2,
        logging_steps=1,
        max_length=8,
        bf16=False,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_dict({"text": ["a b", "b a", "a a", "b b"]}),
    processing_class=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[END]", eos_token="[END]"),
    peft_config=LoraConfig(r=2, target_modules=["q_proj"]),
)
trainer.train()
trainer.save_model("out/adapter")
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
