"""What no try can catch, in every accelerator's runtime: the call fails, the daemon and the other models live on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import MappingProxyType

import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import model_pb2, tensor_pb2

from tests.farmd.modelfarm import Farm, failed, farm
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import CASES, FAKES, Case, inputs_for

FIRST_OF_EACH = {case.runtime: case for case in reversed(CASES) if case.is_fake}


def load(served: Farm, case: Case, data: bytes, fmt: str) -> model_pb2.LoadedModel:
    header = pb.LoadModelHeader(
        name="net", format=fmt, runtime=case.runtime, sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data), options=case.options,
    )  # fmt: skip
    return list(served.loading(data, header))[-1].model


def tensors(model: model_pb2.LoadedModel) -> list[tensor_pb2.Tensor]:
    spec = {"inputs": [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in model.spec.inputs]}
    return [
        tensor_pb2.Tensor(name=name, dtype=array.dtype.name, shape=array.shape, data=array.tobytes())
        for name, array in inputs_for(spec).items()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", sorted(FIRST_OF_EACH))
@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("abort", "WORKER_CRASHED", "SIGABRT"),
        ("segv", "WORKER_CRASHED", "SIGSEGV"),
        ("hang", "WORKER_HUNG", "was killed"),
    ],
)
def test_a_death_in_an_inference(tmp_path: Path, runtime: str, fault: str, reason: str, words: str) -> None:
    case = FIRST_OF_EACH[runtime]
    made, fmt = case.make(tmp_path)
    data = made.read_bytes()
    fake = case.environment(fault=fault, at="infer", after=1)["WATTFARM_FAKE"]
    folders = tuple(FAKES / fake for fake in ("", *case.fakes))
    with farm(
        tmp_path / "board",
        infer_timeout_s=5.0 if fault == "hang" else 20.0,
        interpreters=MappingProxyType({runtime: Path(oldest())}),
        extra_worker_paths=folders,
        worker_env=MappingProxyType({**case.env, "WATTFARM_FAKE": fake}),
    ) as served:
        other, model = load(served, case, data, fmt), load(served, case, data, fmt)
        inputs = tensors(model)
        assert served.infer(model.model_id, *inputs).outputs
        failure = failed(served.infer, model.model_id, *inputs)
        assert (failure.reason, words in failure.message) == (reason, True), failure
        assert served.model_ids() == [other.model_id]
        assert served.infer(other.model_id, *inputs).outputs
        assert served.infer(load(served, case, data, fmt).model_id, *inputs).outputs
        assert served.supervisor.health() == (True, [])
