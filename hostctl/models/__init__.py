"""Models on the host: counting their operations (`count`) and generating the nets of the zoo (`zoo`).

Importing this package loads neither ONNX nor a runtime; both are imported by the calls that need them.
"""
