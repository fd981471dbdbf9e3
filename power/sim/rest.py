"""A simulated server that tells power and energy as JSON over HTTP, as the management of a rack does."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Unpack

import numpy as np

from power.sim.common.base import Settings, Simulator
from power.sim.common.load import Load
from power.sim.common.wattmeter import Wattmeter

GAIN, OFFSET_W = 0.01, 0.05
"""Limits of error of its specimens."""
UPDATE_S = 1.0


class SimulatedRest(Simulator):
    """Answers GET /power. `token` is what it wants as a bearer token, None lets everybody read.

    `instead`, a status and a body, is what it answers with in place of its values.
    """

    driver = "rest"
    supply_v = 12.0
    takes_port = True

    def __init__(
        self, load: Load, *, port: int = 0, token: str | None = None, **settings: Unpack[Settings]
    ) -> None:
        super().__init__(load, **settings)
        self._meter = Wattmeter(
            load, self.timebase, self.faults, self.seed, gain=GAIN, offset_w=OFFSET_W, update_s=UPDATE_S
        )
        self.token, self.requests = token, 0
        self.instead: tuple[int, bytes] | None = None
        self._before = b"{}"
        self._is_over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sim-http", daemon=True
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self._is_over.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    @property
    def options(self) -> dict[str, object]:
        """URL and path of the average power, and its limits of error."""
        return {
            "url": f"http://127.0.0.1:{self._server.server_port}/power",
            "path": "$.nodes[?id=RCU_1].power.average_w",
            "reading": "average",
            "update_s": UPDATE_S,
            "accuracy": {"gain": GAIN, "offset_w": OFFSET_W, "resolution_w": 0.001},
        }

    def document(self) -> dict[str, object]:
        """Return the values."""
        power_w, meter = self._meter.power_w(), self._meter
        power = {
            "average_w": round(power_w, 3),
            "voltage_v": round(meter.voltage_v, 3),
            "current_a": round(power_w / meter.voltage_v, 5),
            "energy_wh": round(meter.energy_j() / 3600.0, 6),
        }
        return {"rack": "sim", "nodes": [{"id": "RCU_0", "power": None}, {"id": "RCU_1", "power": power}]}

    def answer(self, authorization: str | None) -> tuple[int, bytes] | None:
        """Return status and body; None to cut the connection."""
        self.requests += 1
        faults, count = self.faults, self.requests
        if faults.is_cut(count):
            return None
        if faults.is_silent(count):
            self._is_over.wait()
            return None
        if faults.delay_s:
            self.timebase.sleep(faults.delay_s)
        if self.token is not None and authorization != f"Bearer {self.token}":
            return 401, b"<html>Who are you?</html>"
        if faults.error:
            return 500, f"<html>{faults.error}</html>".encode()
        if self.instead is not None:
            return self.instead
        body = json.dumps(self.document()).encode()
        if faults.is_garbage(count):
            body = np.random.default_rng(count).bytes(64)
        if faults.is_stale:
            body, self._before = self._before, body
        return 200, body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        simulator = self

        class Handler(BaseHTTPRequestHandler):
            server_version = simulator.serial

            def do_GET(self) -> None:
                answer = simulator.answer(self.headers.get("Authorization"))
                if answer is None:
                    return
                status, body = answer
                faults = simulator.faults
                with contextlib.suppress(OSError):  # whoever asked has gone
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body) + faults.wrong_length))
                    self.end_headers()
                    self.wfile.write(faults.cut_short(body))

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler
