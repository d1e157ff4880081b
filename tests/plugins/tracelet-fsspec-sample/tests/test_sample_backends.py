from __future__ import annotations

from typing import ClassVar

import pytest

from tracelet.testing import BackendContract

_GAPS = {
    "the blobs are in the memory of one process, and no other process sees them": (
        "test_what_one_program_logs_another_one_reads",
        "test_two_programs_with_many_threads_lose_nothing",
        "test_two_processes_that_race_for_numbers_lose_nothing",
        "test_two_processes_that_race_for_a_label_do_not_share_it",
        "test_what_a_second_process_put_is_seen_at_once",
        "test_a_later_run_goes_on_where_the_first_ended",
        "test_a_put_whose_answer_was_lost_is_not_stored_again",
        "test_a_version_is_never_seen_without_its_aliases",
    ),
    "there is no place beside the process to look at, to tamper with or to be away": (
        "test_reading_needs_no_run_and_leaves_no_trace",
        "test_changed_bytes_are_not_believed",
        "test_a_hostile_manifest_is_not_followed",
        "test_a_place_that_is_away_is_not_an_empty_one",
    ),
}


class TestFiles(BackendContract):
    @pytest.fixture
    def backend(self) -> str:
        return "fsfiles"

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return {"TRACELET_FSFILES_URL": tmp_path_factory.mktemp("place").as_uri()}


class TestMemory(BackendContract):
    gaps: ClassVar = {test: reason for reason, tests in _GAPS.items() for test in tests}

    @pytest.fixture
    def backend(self) -> str:
        return "fsmemory"
