"""Names of artifacts that are made of any text: readable where they can be, and another one for another text."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tracelet import ArtifactType as T
from tracelet.builtin.saves.naming import class_name
from tracelet.core.artifacts.checks import check_name
from tracelet.core.capture.checkpoint_names import checkpoint_name
from tracelet.core.capture.readable_names import readable_name
from tracelet.core.capture.snapshots import artifact_name

pytestmark = pytest.mark.capture


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my model (2)", "my-model-2"),
        ("réseau", "reseau"),
        ("Łódź", "Lodz"),
        ("Ærø", "AEro"),
        ("modèle \u2013 final", "modele-final"),
        ("ﬁne №1", "fine-No1"),
        ("модель", "model-b68fadf0"),
        ("моя-сеть", "moya-set-ef197ed4"),
        ("β-vae", "beta-vae-cda3d812"),
        ("モデル", "moderu-94591749"),
        ("数据", "file-5440f742"),
        ("@", "file"),
    ],
)
def test_a_name_is_the_text_in_ascii_and_a_digest_tells_what_is_lost(text: str, name: str) -> None:
    """The same for ever, and however the accents are composed."""
    for composed in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
        assert readable_name(composed, 60, otherwise="file") == name


def test_texts_that_differ_only_in_what_is_lost_or_cut_have_different_names() -> None:
    texts = [
        "数据",
        "标签",
        "データ",
        "ディタ",
        "🚀",
        "🎯",
        "मॉडल",
        "「」",
        "x\udce9",
        "x\udcea",
        "модель",
        "model",
        "модел",
    ]
    texts += ["x" * 300 + end for end in ("0", "1", "é")]
    names = {artifact_name(f"{folder}{text}.pt", T.WEIGHTS) for text in texts for folder in ("", "模型/", "run/")}
    names |= {checkpoint_name(Path(f"{text}_3")) or "" for text in texts}
    names |= {class_name(type(text, (), {})) for text in ("Сеть", "网络", "N" * 300 + "1", "N" * 300 + "2")}
    assert len(names) == 4 * len(texts) + 4
    assert all(check_name(name) for name in names)


@pytest.mark.parametrize("long", ["x" * 300, "é" * 300, "据" * 300, "-" * 126 + "x" * 9])
def test_a_name_of_a_long_text_is_a_name(long: str) -> None:
    for kind in T:
        assert check_name(artifact_name(f"{long}/{long}.pt", kind))
    assert check_name(checkpoint_name(Path(f"{long}checkpoint_3")) or "")
