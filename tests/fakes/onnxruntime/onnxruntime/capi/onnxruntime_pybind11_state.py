"""The exceptions of the native half: each a plain Exception of its own."""

# The names are the vendor's.
# ruff: noqa: N818


class Fail(Exception):
    """Status FAIL."""


class InvalidArgument(Exception):
    """Status INVALID_ARGUMENT."""


class InvalidProtobuf(Exception):
    """Status INVALID_PROTOBUF."""


class NoSuchFile(Exception):
    """Status NO_SUCHFILE."""


class RuntimeException(Exception):
    """Status RUNTIME_EXCEPTION."""


class EPFail(Exception):
    """Status EP_FAIL: what makes run() go over to the CPU unless disable_fallback() was called."""
