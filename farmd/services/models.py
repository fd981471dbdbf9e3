"""The calls about models: load, unload, list, infer, benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import grpc
from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2

from farmd import benchmark, errors, lean
from farmd.cache import ModelCache
from farmd.calls import CallContext
from farmd.config import Config
from farmd.models import Model
from farmd.services.loading import Load
from farmd.supervisor import Supervisor
from farmd.waiting import Cancel
from farmd.worker import InferOutcome

DEFAULT_PAGE_SIZE = 100
LARGEST_PAGE_SIZE = 1000
# What a message has beside the data of its tensors.
_MESSAGE_OVERHEAD_BYTES = 64 << 10


class ModelCalls:
    """Part of the DeviceService servicer; gRPC calls these methods, so they keep the protocol's names."""

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        cache: ModelCache,
        stats_reader: Callable[[], stats_pb2.BoardStats],
    ) -> None:
        """`stats_reader` tells the board's state; a benchmark calls it before its warm-up and after its window."""
        self._config = config
        self._supervisor = supervisor
        self._cache = cache
        self._read_stats = stats_reader
        supervisor.health_sources.append(lambda: cache.fault)

    def LoadModel(  # noqa: N802
        self, request_iterator: Iterator[pb.LoadModelRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.LoadModelResponse]:
        """Receive a model file, or find it in the cache, and load it in a worker of its own."""
        lease = context.lease if isinstance(context, CallContext) else None
        fence = None if lease is None else lease.fence
        load = Load(self._config, self._supervisor, self._cache, Cancel.of(context), fence)
        yield from load.run(request_iterator)

    def UnloadModel(  # noqa: N802
        self, request: pb.UnloadModelRequest, context: grpc.ServicerContext
    ) -> pb.UnloadModelResponse:
        """End a model's worker once its running request is done."""
        self._supervisor.unload(request.model_id, Cancel.of(context))
        return pb.UnloadModelResponse()

    def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, _context: grpc.ServicerContext
    ) -> pb.ListModelsResponse:
        """Return one page of the loaded models, in the order they were loaded."""
        if request.page_size < 0:
            raise errors.RequestInvalid.of_field(
                "page_size",
                f"'page_size' must not be negative, but is {request.page_size}; 0 means {DEFAULT_PAGE_SIZE}.",
            )
        size = min(request.page_size or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)
        rest = [model for model in self._supervisor.models() if model.model_id > request.page_token]
        token = rest[size - 1].model_id if len(rest) > size else ""
        return pb.ListModelsResponse(models=[model.message for model in rest[:size]], next_page_token=token)

    def Infer(  # noqa: N802
        self, request: pb.InferRequest | lean.InferCall, context: grpc.ServicerContext
    ) -> pb.InferResponse:
        """Run one inference. The server may parse the request with lean.DESERIALIZERS."""
        call = request if isinstance(request, lean.InferCall) else lean.from_request(request)
        return self._infer(call, Cancel.of(context))

    def InferStream(  # noqa: N802
        self, request_iterator: Iterator[pb.InferStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.InferStreamResponse]:
        """Run inferences in the order of their arrival; the first that fails ends the stream."""
        cancel = Cancel.of(context)
        for message in request_iterator:
            yield pb.InferStreamResponse(response=self._infer(lean.from_request(message.request), cancel))

    def Benchmark(  # noqa: N802
        self, request: pb.BenchmarkRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.BenchmarkResponse]:
        """Run a timed loop with the board to itself: phases, then samples, then the result."""
        cancel = Cancel.of(context)
        plan = benchmark.checked(request, self._config)
        model = self._supervisor.get(request.model_id)
        if plan.inputs:
            model.check_inputs(plan.inputs)
        result, samples = yield from self._measure(model, plan, cancel)
        try:  # from here on the board is free again, however slowly the client reads
            yield pb.BenchmarkResponse(progress=pb.BenchmarkProgress(phase=pb.BenchmarkProgress.PHASE_DONE))
            yield from samples.messages()
        finally:
            samples.close()
        yield pb.BenchmarkResponse(result=result)

    def _measure(self, model: Model, plan: benchmark.Plan, cancel: Cancel) -> benchmark.Measuring:
        patience_s = self._config.infer_timeout_s
        activity = self._supervisor.activity
        with (
            activity.benchmarking(model.name, cancel, patience_s),
            model.turn(cancel, patience_s) as worker,
        ):
            before = self._read_stats()
            reply, samples = yield from benchmark.run(worker, plan, self._config, cancel)
            after = self._read_stats()
            try:
                result = benchmark.result(reply, before, after)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                samples.close()
                raise worker.ended(
                    errors.WorkerGarbage, f"gave a result of the benchmark that makes no sense ({error!r})"
                ) from None
            worker.inference_count += result.request_count
        self._supervisor.succeeded(worker, "benchmark")
        return result, samples

    def _infer(self, request: lean.InferCall, cancel: Cancel) -> pb.InferResponse:
        arrived_ns = time.monotonic_ns()
        model = self._supervisor.get(request.model_id)
        model.check_inputs(request.inputs)
        with self._supervisor.activity.inference():
            outcome, taken_ns = self._supervisor.infer(model, request.inputs, cancel)
        self._check_size(outcome)
        return pb.InferResponse(
            outputs=outcome.outputs,
            request_id=request.request_id,
            queue_ns=taken_ns - arrived_ns,
            compute_ns=outcome.end_ns - outcome.start_ns,
            start_ns=outcome.start_ns,
        )

    def _check_size(self, outcome: InferOutcome) -> None:
        size_bytes = outcome.data_bytes + _MESSAGE_OVERHEAD_BYTES
        if size_bytes > self._config.max_message_bytes:
            raise errors.MessageTooLarge(
                f"The outputs have {outcome.data_bytes} bytes, more than one message of this board may carry; use a "
                "smaller batch or raise max_message_bytes in its farmd.toml.",
                metadata={
                    "size_bytes": outcome.data_bytes,
                    "limit_bytes": self._config.max_message_bytes,
                },
            )
