"""A folder that a library saves as one thing is one artifact, from which the library loads it; a watched directory adds nothing."""

from __future__ import annotations

from pathlib import Path

from making import elsewhere

BEGIN = """
    import os, shutil
    from pathlib import Path
    os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1")
    import torch
    from datasets import Dataset
    from tracelet import Experiment

    torch.manual_seed(0)
    os.mkdir("out")
    exp = Experiment(
        "folders", artifacts=True, automagic_artifacts=True, watch_filesystem=True, artifact_watch_dirs=["out"]
    ).start()
    arguments = dict(report_to=[], use_cpu=True, disable_tqdm=True, per_device_train_batch_size=2, save_total_limit=1)
    """
STORED = """
    exp.stop()
    shutil.rmtree("out")
    stored = {}
    for one in sorted(exp.list_artifacts(), key=lambda one: int(one.version[1:])):
        files = sorted(file.artifact_path for file in one.files)
        stored.setdefault(one.name, []).append([one.type.value, files, sorted(one.aliases), one.metadata])
    """


def test_folders_of_models_are_one_artifact_that_loads(tmp_path: Path) -> None:
    """A model of sentence-transformers has folders in it, which are kept although checkpoints are beside them."""
    stored, shape, channels = elsewhere(
        BEGIN
        + """
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments, losses
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(4,), norm_num_groups=2,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )
    DDPMPipeline(network, DDPMScheduler(10)).save_pretrained("out/pipeline")

    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[PAD]": 2}, unk_token="a"))
    BertModel(BertConfig(vocab_size=3, **sizes)).save_pretrained("base")
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").save_pretrained("base")
    model = SentenceTransformer(modules=[Transformer("base"), Pooling(8)])
    pairs = Dataset.from_dict({"x": ["a", "b", "a", "b"], "y": ["b", "a", "b", "a"]})
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            "out/run", max_steps=2, save_steps=1, eval_strategy="steps", eval_steps=1, **arguments
        ),
        train_dataset=pairs,
        eval_dataset={"one": pairs, "two": pairs},
        loss=losses.MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    trainer.save_model()
    """
        + STORED
        + """
    words = SentenceTransformer(str(exp.get_artifact("run-model").download())).encode(["a", "b"])
    pipeline = DDPMPipeline.from_pretrained(str(exp.get_artifact("pipeline-model").download()))
    answer([stored, words.shape, pipeline.unet.config.in_channels])
    """,
        cwd=tmp_path,
    )
    assert set(stored) == {"base-model", "pipeline-model", "run-model", "sentence-transformer-checkpoint"}
    ((kind, files, _, metadata),) = stored["pipeline-model"]
    assert kind == "model"
    assert metadata["class"].endswith(":DDPMPipeline")
    assert metadata["framework"].startswith("diffusers ")
    assert {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json"} < set(files)
    ((kind, files, _, _),) = stored["run-model"]
    assert kind == "model"
    assert {"modules.json", "1_Pooling/config.json", "training_args.bin"} < set(files)
    assert not any("checkpoint" in file for file in files)
    first, last = stored["sentence-transformer-checkpoint"]
    assert first[0] == last[0] == "checkpoint"
    assert {"trainer_state.json", "optimizer.pt", "1_Pooling/config.json"} < set(last[1])
    assert [first[2], last[2]] == [[], ["last"]]
    assert [first[3]["global_step"], last[3]["global_step"]] == [1, 2]
    assert {"eval_one_loss", "eval_two_loss"} < set(last[3]["metrics"])
    assert shape == [2, 8]
    assert channels == 1


def test_adapters_and_the_state_of_trainings_are_one_artifact_each(tmp_path: Path) -> None:
    """Trainers of TRL are transformers' own; what accelerate saves is never a version of theirs."""
    stored, loaded = elsewhere(
        BEGIN
        + """
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration
    from peft import LoraConfig, PeftModel, get_peft_model
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    def base():
        return LlamaForCausalLM(
            LlamaConfig(vocab_size=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
        )

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[END]": 2}, unk_token="a"))
    adapted = get_peft_model(base(), LoraConfig(r=2, target_modules=["q_proj"]))
    trainer = SFTTrainer(
        adapted,
        SFTConfig("out/run", max_steps=2, save_steps=1, max_length=8, bf16=False, **arguments),
        train_dataset=Dataset.from_dict({"text": ["a b", "b a", "a a", "b b"]}),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[END]", eos_token="[END]"),
    )
    trainer.train()
    trainer.save_model("out/adapter")
    adapted.save_pretrained("out/plain")

    accelerator = Accelerator(
        cpu=True, project_config=ProjectConfiguration("out/own", automatic_checkpoint_naming=True, total_limit=1)
    )
    net = torch.nn.Linear(2, 1)
    net, optimizer = accelerator.prepare(net, torch.optim.Adam(net.parameters()))
    for _ in range(2):
        accelerator.backward(net(torch.ones(1, 2)).sum())
        optimizer.step()
        accelerator.save_state()
    accelerator.save_model(net, "out/net")
    """
        + STORED
        + """
    PeftModel.from_pretrained(base(), str(exp.get_artifact("adapter-weights").download()))
    weight = net.weight.detach().clone()
    torch.nn.init.zeros_(net.weight)
    accelerator.load_state(str(exp.get_artifact("accelerate-checkpoint").download()))
    answer([stored, torch.equal(net.weight, weight)])
    """,
        cwd=tmp_path,
    )
    stored.pop("run.README-report", None)  # TRL writes a page about the model beside its checkpoints
    checkpoints = {"peft-model-checkpoint", "accelerate-checkpoint"}
    weights = {"adapter-weights", "plain-weights", "net-weights"}
    assert {name: len(versions) for name, versions in stored.items()} == {
        **dict.fromkeys(checkpoints, 2),
        **dict.fromkeys(weights, 1),
    }
    assert {stored[name][0][0] for name in checkpoints} == {"checkpoint"}
    assert {stored[name][0][0] for name in weights} == {"weights"}
    assert {"adapter_config.json", "tokenizer.json", "training_args.bin"} < set(stored["adapter-weights"][0][1])
    assert "adapter_config.json" in stored["plain-weights"][0][1]
    assert stored["adapter-weights"][0][3]["class"] == stored["plain-weights"][0][3]["class"]
    assert [aliases for _, _, aliases, _ in stored["accelerate-checkpoint"]] == [[], ["last"]]
    assert {"trainer_state.json", "adapter_config.json"} < set(stored["peft-model-checkpoint"][1][1])
    assert {"model.safetensors", "optimizer.bin"} < set(stored["accelerate-checkpoint"][1][1])
    assert loaded


def test_what_a_training_writes_beside_its_model_makes_no_version_of_the_model(tmp_path: Path) -> None:
    """The end of each example of transformers: the model, the metrics, the state, in one folder without checkpoints."""
    (stored,) = elsewhere(
        BEGIN
        + """
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    config = BertConfig(vocab_size=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    rows = Dataset.from_dict({"input_ids": [[1, 2]] * 2, "labels": [0, 1]})
    trainer = Trainer(
        BertForSequenceClassification(config),
        TrainingArguments("out/run", save_strategy="no", max_steps=1, **arguments),
        train_dataset=rows,
    )
    result = trainer.train()
    trainer.save_model()
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    """
        + STORED
        + "    answer([stored])\n",
        cwd=tmp_path,
    )
    assert {name: [files for _, files, _, _ in versions] for name, versions in stored.items()} == {
        "run-model": [["config.json", "model.safetensors", "training_args.bin"]],
        "run.trainer_state-config": [["run/trainer_state.json"]],
        "run.train_results-config": [["run/train_results.json"]],
        "run.all_results-config": [["run/all_results.json"]],
    }
