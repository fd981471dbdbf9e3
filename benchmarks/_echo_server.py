"""A bare grpcio server: takes any bytes, answers as many as its argument says. Prints its port; ends with its standard input.

Server options and number of threads are farmd's own; nothing else of it is here.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from farmd.calls import THREADS
from farmd.config import Config
from farmd.server import options

METHOD = "/bare.Echo/Call"


class Handler(grpc.GenericRpcHandler):
    """Answers every call alike, without any message class."""

    def __init__(self, reply: bytes) -> None:
        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            lambda request, context: reply
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the one handler there is."""
        return self._handler


def main() -> None:
    """Serve until standard input closes."""
    handler = Handler(bytes(int(sys.argv[1])))
    server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[handler], options=options(Config()))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
