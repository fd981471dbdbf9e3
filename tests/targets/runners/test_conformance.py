"""Conformance: every runtime of the catalogue, driven over the worker as the daemon drives it.

Real packages where they install, fakes of the vendor's elsewhere: those under the oldest interpreter there is. A runtime that
is not installed is skipped with the reason it gives.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets import catalogue
from tests.targets.helpers import WorkerClient
from tests.targets.runners import suite
from tests.targets.runners.cases import CASES, Case

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_fake = pytest.mark.parametrize("case", [case for case in CASES if case.is_fake], ids=str)


@pytest.fixture
def worker(case: Case) -> Iterator[WorkerClient]:
    with case.worker() as client:
        yield client


def test_every_runtime_of_the_catalogue_has_a_case() -> None:
    assert {case.runtime for case in CASES} == set(catalogue.BUILT_IN)


@each_case
def test_it_conforms(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    suite.conforms(worker, tmp_path, case)


@each_case
def test_wrong_inputs_never_reach_the_runtime(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    suite.keeps_wrong_inputs_from_the_runtime(worker, tmp_path, case)


@each_case
@pytest.mark.slow
def test_broken_files_are_model_invalid(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    suite.calls_broken_files_invalid(worker, tmp_path, case)


@each_case
@pytest.mark.slow
def test_damage_anywhere_never_ends_as_a_wrong_kind(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    suite.survives_damage_anywhere(worker, tmp_path, case)


@each_case
@pytest.mark.slow
def test_options_and_formats(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    suite.refuses_wrong_options(worker, tmp_path, case)


@each_fake
@pytest.mark.slow
def test_its_death_is_the_workers_alone(tmp_path: Path, case: Case) -> None:
    suite.dies_alone(tmp_path, case)
