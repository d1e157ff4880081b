"""Save a model of transformers in shards."""

import torch
from transformers import BertConfig, BertModel

torch.manual_seed(0)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
BertModel(BertConfig(vocab_size=200, **sizes)).save_pretrained("out/sharded", max_shard_size="30KB")
