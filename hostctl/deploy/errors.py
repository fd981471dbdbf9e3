# ruff: noqa: N818 (an error is named after what happened, as in the other rooms)
"""What goes wrong while installing on a board."""

from hostctl.errors import HostctlError


class DeployFailed(HostctlError):
    """A step failed; what ran on the board before runs on, or was put back, as the sentence says."""


class BoardUnfit(HostctlError):
    """The board lacks something that farmd or its installation needs."""


class WheelMissing(HostctlError):
    """The wheels for the board's Python could not be collected on this workstation."""
