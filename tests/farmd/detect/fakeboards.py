"""A dozen machines as `farmd --detect` meets them: their roots, and what is to be found there.

Models and entries are those of the device trees that Linux and the vendors publish (targets/boards/*.toml cite them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.farmd.detect.fakeroot import FakeRoot

DISPLAY = "0x030000"
LIB = "usr/lib/aarch64-linux-gnu"


@dataclass(frozen=True)
class FakeBoard:
    """One machine.

    build         fills its root
    board         the entry that is to be proposed
    accelerators  the beginnings of their names and places, in order
    missing       a part of each sentence about what is missing, in order
    works         interpreter's file name → runtime → version; "" is farmd's own
    proposed      runtime → path under the root, in [interpreters]
    """

    name: str
    build: Callable[[FakeRoot], FakeRoot]
    board: str
    accelerators: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    works: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"": {"onnxruntime": "1.22.0"}})
    proposed: Mapping[str, str] = field(default_factory=dict)

    def root(self, folder: Path) -> Path:
        """Build it."""
        return self.build(FakeRoot(folder)).path

    def __str__(self) -> str:
        """Name it for people."""
        return self.name


def _orin(root: FakeRoot) -> FakeRoot:
    root.device_tree(
        "NVIDIA Jetson AGX Orin Developer Kit",
        *("nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234"),
    )
    for node in ("nvhost-gpu", "nvhost-ctrl-gpu", "nvhost-ctrl-nvdla0", "nvhost-ctrl-nvdla1"):
        root.file(f"dev/{node}")
    return root.python("usr/bin/python3.10")


def _xavier_nx(root: FakeRoot) -> FakeRoot:
    root.device_tree(
        "NVIDIA Jetson Xavier NX Developer Kit", "nvidia,p3509-0000+p3668-0000", "nvidia,tegra194"
    )
    return root.file("dev/nvhost-gpu").python("usr/bin/python3.8").python("usr/local/bin/python3.11")


def _nano(root: FakeRoot) -> FakeRoot:
    root.device_tree(
        "NVIDIA Jetson Nano Developer Kit", "nvidia,p3450-0000", "nvidia,jetson-nano", "nvidia,tegra210"
    )
    return root.file("dev/nvhost-ctrl-gpu").python("usr/bin/python3.6").python("usr/bin/python3.5")


def _pi5_hailo(root: FakeRoot) -> FakeRoot:
    root.device_tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712")
    return root.pci("0001:01:00.0", "1e60:2864", "0x120000").python("usr/bin/python3.11")


def _pi5_hailo_installed(root: FakeRoot) -> FakeRoot:
    return _pi5_hailo(root).file("dev/hailo0").file("usr/lib/libhailort.so.4.23.0")


def _pi4_coral(root: FakeRoot) -> FakeRoot:
    root.device_tree("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711")
    return root.usb("2-1", "18d1:9302").file(f"{LIB}/libedgetpu.so.1.0").python("usr/bin/python3.9")


def _coral_dev(root: FakeRoot) -> FakeRoot:
    root.device_tree("Freescale i.MX8MQ Phanbell", "fsl,imx8mq-phanbell", "fsl,imx8mq")
    root.pci("0000:01:00.0", "1ac1:089a", "0x0000ff").file("dev/apex_0")
    return root.file(f"{LIB}/libedgetpu.so.1.0").python("usr/bin/python3.7")


def _coral_usb_fresh(root: FakeRoot) -> FakeRoot:
    return root.dmi("NUC8i5BEH").usb("1-2", "1a6e:089a")


def _imx8mp(root: FakeRoot) -> FakeRoot:
    root.device_tree("NXP i.MX8MPlus EVK board", "fsl,imx8mp-evk", "fsl,imx8mp")
    return root.file("dev/galcore").python("usr/bin/python3.12")


def _kv260(root: FakeRoot) -> FakeRoot:
    root.device_tree(
        "ZynqMP SMK-K26 Rev1/B/A",
        *("xlnx,zynqmp-smk-k26-rev1", "xlnx,zynqmp-smk-k26-revB", "xlnx,zynqmp-smk-k26", "xlnx,zynqmp"),
    )
    root.file("sys/class/hwmon/hwmon0/name", "ina260_u14\n")
    root.file("sys/class/hwmon/hwmon0/power1_input", "5000000\n")
    root.file("dev/dri/renderD128").file("usr/lib/libvart-runner.so.3")
    return root.python("usr/bin/python3")


def _vck190(root: FakeRoot) -> FakeRoot:
    return root.device_tree("Xilinx Versal vck190 Eval board revA (QSPI)", "xlnx,versal")


def _zcu102(root: FakeRoot) -> FakeRoot:
    return root.device_tree(
        "ZynqMP ZCU102 Rev1.0", "xlnx,zynqmp-zcu102-rev1.0", "xlnx,zynqmp-zcu102", "xlnx,zynqmp"
    )


def _zcu104(root: FakeRoot) -> FakeRoot:
    return root.device_tree(
        "ZynqMP ZCU104 RevC", "xlnx,zynqmp-zcu104-revC", "xlnx,zynqmp-zcu104", "xlnx,zynqmp"
    )


def _nuc(root: FakeRoot) -> FakeRoot:
    root.dmi("NUC14RVH").pci("0000:00:02.0", "8086:7d55", DISPLAY).pci("0000:00:0b.0", "8086:7d1d")
    root.pci("0000:00:1f.0", "8086:7e02", "0x060100")
    return root.file("dev/dri/renderD128").file("usr/lib/x86_64-linux-gnu/intel-opencl/libigdrcl.so")


def _a100(root: FakeRoot) -> FakeRoot:
    root.pci("0000:41:00.0", "10de:20f1", "0x030200").pci("0000:41:00.1", "10de:1aef", "0x040300")
    return root.file("dev/nvidia0").file("dev/nvidiactl")


def _conga(root: FakeRoot) -> FakeRoot:
    return root.dmi("conga-B7E3")


def _ncs2(root: FakeRoot) -> FakeRoot:
    return root.dmi("To Be Filled By O.E.M.").usb("1-4", "03e7:2485")


OPENVINO = {"": {"openvino": "2026.4.1-22982-e213a147257", "onnxruntime": "1.22.0"}}

MACHINES = (
    FakeBoard(
        "Jetson AGX Orin, JetPack 6",
        _orin,
        "jetson-agx-orin",
        (
            "The GPU of a Jetson is in the processor",
            "An NVDLA core is behind /dev/nvhost-ctrl-nvdla0",
            "An NVDLA core is behind /dev/nvhost-ctrl-nvdla1",
        ),
        works={"python3.10": {"tensorrt": "10.3.0"}},
        proposed={"tensorrt": "usr/bin/python3.10"},
    ),
    FakeBoard(
        "Xavier NX, JetPack 5",
        _xavier_nx,
        "jetson-xavier-nx",
        ("The GPU of a Jetson",),
        works={
            "": {"onnxruntime": "1.22.0"},
            "python3.11": {"tensorrt": "0"},
            "python3.8": {"tensorrt": "8.5.2", "onnxruntime": "1.15.0"},
        },
        proposed={"tensorrt": "usr/bin/python3.8"},
    ),
    FakeBoard(
        "Nano, JetPack 4",
        _nano,
        "jetson-nano",
        ("The GPU of a Jetson",),
        works={"python3.6": {"tensorrt": "8.2.1"}, "python3.5": {"tensorrt": "0"}},
        proposed={"tensorrt": "usr/bin/python3.6"},
    ),
    FakeBoard(
        "Jetson without its driver",
        lambda root: root.device_tree(
            "Jetson TX2", "nvidia,quill", "nvidia,p2597-0000+p3310-1000", "nvidia,tegra186"
        ),
        "jetson-tx2",
        ("The GPU of a Jetson",),
        (
            "but /dev/nvhost-gpu is missing: flash the board with JetPack",
            "tensorrt cannot be imported",
        ),
    ),
    FakeBoard(
        "Raspberry Pi 5, Hailo-8, nothing installed",
        _pi5_hailo,
        "hailo-8-m2",
        ("A Hailo-8 is on PCI 0001:01:00.0",),
        (
            "but /dev/hailo0 is missing: install hailort-pcie-driver",
            "libhailort.so is not installed",
            "hailort cannot be imported",
        ),
    ),
    FakeBoard(
        "Raspberry Pi 5, Hailo-8",
        _pi5_hailo_installed,
        "hailo-8-m2",
        ("A Hailo-8 is on PCI 0001:01:00.0",),
        works={"python3.11": {"hailort": "4.23.0"}},
        proposed={"hailort": "usr/bin/python3.11"},
    ),
    FakeBoard(
        "Raspberry Pi 4, Coral USB in use",
        _pi4_coral,
        "edge-tpu",
        ("An Edge TPU is on USB 2-1",),
        works={"python3.9": {"edgetpu": "1.0", "litert": "2.14.0"}},
        proposed={"edgetpu": "usr/bin/python3.9", "litert": "usr/bin/python3.9"},
    ),
    FakeBoard(
        "Coral Dev Board",
        _coral_dev,
        "coral-dev-board",
        ("An Edge TPU is on PCI 0000:01:00.0",),
        works={"python3.7": {"edgetpu": "1.0"}},
        proposed={"edgetpu": "usr/bin/python3.7"},
    ),
    FakeBoard(
        "Coral USB on a PC, before its first opening",
        _coral_usb_fresh,
        "edge-tpu",
        ("An Edge TPU that nobody has opened yet is on USB 1-2",),
        (
            "libedgetpu.so.1 is not installed for it (An Edge TPU that nobody has opened yet is on USB 1-2): "
            "apt-get install libedgetpu1-std",
            "edgetpu cannot be imported",
        ),
    ),
    FakeBoard(
        "i.MX 8M Plus",
        _imx8mp,
        "nxp-imx8m",
        ("The NPU of an i.MX 8M Plus is in the processor",),
        ("libvx_delegate.so is not installed",),
        works={"python3.12": {"litert": "2.16.2"}},
        proposed={"litert": "usr/bin/python3.12"},
    ),
    FakeBoard(
        "KV260",
        _kv260,
        "kria-k26",
        ("The FPGA that a DPU is loaded into is in the processor",),
        works={"python3": {"vitisai": "3.5"}},
        proposed={"vitisai": "usr/bin/python3"},
    ),
    FakeBoard(
        "VCK190, told by its model",
        _vck190,
        "versal-vck190",
        ("The FPGA",),
        (
            "but /dev/dri/renderD128 is missing: load a design with a DPU",
            "libvart-runner.so is not installed",
            "vitisai cannot be imported",
        ),
    ),
    FakeBoard("ZCU102", _zcu102, "xilinx-zcu102", ("The FPGA",), ("renderD128", "libvart", "vitisai")),
    FakeBoard(
        "ZCU104, without an entry of its own",
        _zcu104,
        "zynq-ultrascale-plus",
        ("The FPGA",),
        ("renderD128", "libvart", "vitisai"),
    ),
    FakeBoard(
        "PC with GPU and NPU by Intel",
        _nuc,
        "generic-x86_64",
        ("An Intel GPU is on PCI 0000:00:02.0", "An Intel NPU is on PCI 0000:00:0b.0"),
        (
            "but /dev/accel/accel0 is missing: it needs Linux 6.3",
            "libze_intel_npu.so is not installed",
        ),
        works=OPENVINO,
    ),
    FakeBoard(
        "server with an A100",
        _a100,
        "tesla-a100",
        ("An NVIDIA GPU is on PCI 0000:41:00.0",),
        ("tensorrt cannot be imported",),
    ),
    FakeBoard("conga-B7E3, told by DMI", _conga, "congatec-conga-b7e3"),
    FakeBoard(
        "PC with an NCS2 and an OpenVINO that is too new",
        _ncs2,
        "movidius-ncs2",
        ("A Movidius Myriad is on USB 1-4",),
        ("but openvino 2026.4.1-22982-e213a147257 no longer drives it, 2022.3 was the last",),
        works=OPENVINO,
    ),
    FakeBoard("plain PC", lambda root: root.dmi("Standard PC (Q35 + ICH9, 2009)"), "generic-x86_64"),
    FakeBoard(
        "nothing that works",
        lambda root: root,
        "generic-x86_64",
        (),
        ("No runtime works here: install one",),
        works={},
    ),
)
