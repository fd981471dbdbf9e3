"""A bare grpcio server: takes any bytes, answers 4,000. Prints its port; ends with its standard input."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

REPLY = bytes(4000)
METHOD = "/bare.Echo/Call"


class Handler(grpc.GenericRpcHandler):
    """Answers every call alike, without any message class."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the one handler there is."""
        return grpc.unary_unary_rpc_method_handler(lambda request, context: REPLY)


def main() -> None:
    """Serve until standard input closes."""
    server = grpc.server(
        ThreadPoolExecutor(8), handlers=[Handler()], options=[("grpc.max_receive_message_length", 64 << 20)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
