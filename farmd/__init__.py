"""The daemon on the board: serves farm.v1.DeviceService, runs each model in a worker process of its own."""
