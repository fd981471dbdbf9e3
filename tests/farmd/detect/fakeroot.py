"""Whole boards as folders: what their kernels show in /proc, /sys and /dev, the libraries and the interpreters they have."""

from __future__ import annotations

import sys
from pathlib import Path


class FakeRoot:
    """A root that is filled step by step; every method returns it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def file(self, name: str, content: str = "") -> FakeRoot:
        """Write a file."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        return self

    def device_tree(self, model: str, *compatible: str) -> FakeRoot:
        """Write the root node of a device tree; its texts end with NUL."""
        self.file("proc/device-tree/model", model + "\0")
        return self.file("proc/device-tree/compatible", "".join(entry + "\0" for entry in compatible))

    def dmi(self, product: str) -> FakeRoot:
        """Write the name that a PC's firmware gives it."""
        return self.file("sys/class/dmi/id/product_name", product + "\n")

    def pci(self, number: str, ids: str, pci_class: str = "0x000000") -> FakeRoot:
        """Put a device on the PCI bus; `ids` is "vendor:device"."""
        vendor, device = ids.split(":")
        folder = f"sys/bus/pci/devices/{number}"
        self.file(f"{folder}/vendor", f"0x{vendor}\n").file(f"{folder}/device", f"0x{device}\n")
        return self.file(f"{folder}/class", pci_class + "\n")

    def usb(self, port: str, ids: str, device: int = 5) -> FakeRoot:
        """Put a device on the USB, with its node."""
        vendor, product = ids.split(":")
        folder = f"sys/bus/usb/devices/{port}"
        self.file(f"{folder}/idVendor", vendor + "\n").file(f"{folder}/idProduct", product + "\n")
        self.file(f"{folder}/busnum", "1\n").file(f"{folder}/devnum", f"{device}\n")
        return self.file(f"dev/bus/usb/001/{device:03}")

    def python(
        self, path: str, *packages: Path, interpreter: str = sys.executable, env: str = ""
    ) -> FakeRoot:
        """Install an interpreter that has these folders' packages as its own; `env` is more of its environment."""
        places = ":".join(map(str, packages))
        self.file(path, f'#!/bin/sh\n{env} PYTHONPATH="$PYTHONPATH:{places}" exec {interpreter} "$@"\n')
        (self.path / path).chmod(0o755)
        return self
