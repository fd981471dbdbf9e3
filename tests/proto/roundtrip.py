"""Exercises the generated code alone: run by a bare interpreter that has only protobuf and grpcio.

Prints the protobuf version and the names of the service's methods.
"""

import json
import sys

import google.protobuf
from farm.v1 import device_service_pb2, device_service_pb2_grpc, tensor_pb2


def main() -> None:
    """Serialise, parse and compare one message; build the service's stub class."""
    tensor = tensor_pb2.Tensor(name="x", dtype="float32", shape=[1, 2], data=bytes(8))
    request = device_service_pb2.InferRequest(model_id="m", inputs=[tensor])
    assert device_service_pb2.InferRequest.FromString(request.SerializeToString()) == request
    absent = device_service_pb2.BenchmarkResult()
    assert not absent.HasField("first_inference_ns")
    service = device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"]
    assert hasattr(device_service_pb2_grpc, "DeviceServiceStub")
    json.dump(
        {"protobuf": google.protobuf.__version__, "methods": [m.name for m in service.methods]}, sys.stdout
    )


if __name__ == "__main__":
    main()
