"""Save two adapters of one model with PEFT."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
model = get_peft_model(LlamaForCausalLM(LlamaConfig(vocab_size=3, **sizes)), LoraConfig(r=2, target_modules=["q_proj"]))
model.save_pretrained("out/lora")
torch.nn.init.ones_(model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight)
model.save_pretrained("out/lora")
