"""`docs/reference/settings.md` has every setting once, as the code has it.

`pytest tests/pages/test_settings_page.py --figures docs/reference/settings.md` writes its tables.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest

from pages.settings import GROUPS, PAGE, classes, written
from tracelet import ExperimentConfig, TraceletSettings


def test_the_tables_of_the_page_are_what_the_code_says(pytestconfig: pytest.Config) -> None:
    page = pytestconfig.getoption("--figures")
    if page:
        Path(page).write_text(written(PAGE.read_text()))
    text = PAGE.read_text()
    assert text == written(text), "write the tables anew, as the head of this file says"


def test_every_setting_of_tracelet_is_in_one_group() -> None:
    fields = Counter(field for group in GROUPS for field in group.fields)
    assert fields == Counter(field.name for field in attrs.fields(TraceletSettings))
    assert set(fields) == {field.name for field in attrs.fields(ExperimentConfig)}


def test_the_settings_of_every_plugin_are_in_one_group() -> None:
    plugins = Counter(name for group in GROUPS for name, _ in group.plugins)
    assert plugins == Counter(list(classes()))
