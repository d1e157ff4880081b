"""Detector ``torch``: what goes through ``torch.save`` and its relatives is captured, with no change to the code.

=================  ==============================================================  ==========================
switch             what it watches                                                 what it emits
=================  ==============================================================  ==========================
``save``           ``torch.save``                                                  what the object is, as below
``jit``            ``torch.jit.save``, ``ScriptModule.save``                       MODEL
``export``         ``torch.export.save``                                           MODEL
``safetensors``    ``safetensors.torch.save_file`` and ``save_model``              WEIGHTS
``distributed``    ``torch.distributed.checkpoint.save`` and ``async_save``        CHECKPOINT, a folder
``transformers``   ``save_pretrained`` of Hugging Face's models, and of the        MODEL, a folder
                   tokenizers and processors that are saved beside a model;
                   ``save`` of sentence-transformers
                   ``save_torch_model`` of huggingface_hub                         WEIGHTS, a folder
                   ``save_pretrained`` of PEFT                                     WEIGHTS, a folder
                   the checkpoints of ``Trainer.train``                            CHECKPOINT, a folder
                   ``Trainer.save_model``                                          MODEL, or WEIGHTS of an adapter
``diffusers``      ``save_pretrained`` of pipelines and of their models            MODEL, a folder
``accelerate``     ``Accelerator.save_state``                                      CHECKPOINT, a folder
                   ``Accelerator.save_model``                                      WEIGHTS, a folder
``deepspeed``      ``DeepSpeedEngine.save_checkpoint``                             CHECKPOINT, a folder
``spacy``          ``Language.to_disk``                                            MODEL, a folder
``orbax``          each checkpoint when Orbax commits it                           CHECKPOINT, a folder
=================  ==============================================================  ==========================

Each is on unless ``TRACELET_TORCH_<SWITCH>`` says false. What ``torch.save`` was given tells the type: a module is a
MODEL, tensors alone are WEIGHTS, the state of training is a CHECKPOINT, see :mod:`.reading`; a checkpoint's metadata
has the keys ``epoch``, ``global_step``, ``step``, ``loss`` (and others that end in ``_loss``) and ``learning_rate``,
so far as the saved dict has them as plain numbers.

Nothing of a framework is imported here: functions are watched once the user's program has imported them.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from tracelet.plugin import Detector, DetectorContext, DetectorSpec, hookimpl

__all__ = ["TorchSettings", "tracelet_detectors"]


@attrs.frozen
class TorchSettings:
    """What to watch; read from ``TRACELET_TORCH_*``."""

    #: Capture ``torch.save``.
    save: bool = True
    #: Capture ``torch.jit.save`` and ``ScriptModule.save``.
    jit: bool = True
    #: Capture ``torch.export.save``.
    export: bool = True
    #: Capture ``safetensors.torch.save_file`` and ``save_model``.
    safetensors: bool = True
    #: Capture ``torch.distributed.checkpoint.save`` and ``async_save``.
    distributed: bool = True
    #: Capture what transformers, sentence-transformers, huggingface_hub and PEFT save.
    transformers: bool = True
    #: Capture ``save_pretrained`` of the pipelines and models of diffusers.
    diffusers: bool = True
    #: Capture ``Accelerator.save_state`` and ``save_model``.
    accelerate: bool = True
    #: Capture ``DeepSpeedEngine.save_checkpoint``.
    deepspeed: bool = True
    #: Capture ``Language.to_disk`` of spaCy.
    spacy: bool = True
    #: Capture each checkpoint that Orbax commits.
    orbax: bool = True


def _create(settings: TorchSettings, context: DetectorContext) -> Detector:
    from tracelet.builtin.saves.detector import SavesDetector
    from tracelet.builtin.torch_save.orbax import COMMITS
    from tracelet.builtin.torch_save.saves import SAVES
    from tracelet.builtin.torch_save.training import TRAININGS

    return SavesDetector([one for one in (*SAVES, *TRAININGS, *COMMITS) if getattr(settings, one.switch)], context)


@hookimpl
def tracelet_detectors() -> Iterable[DetectorSpec]:
    """Provide the detector ``torch``."""
    return [DetectorSpec(name="torch", create=_create, settings=TorchSettings)]
