"""The accelerators that can be told from outside, and what each needs before a runtime can use it.

Sources: PCI ID Database (vendors); Linux, drivers/accel/ivpu/ivpu_drv.h and drivers/accel/amdxdna/amdxdna_pci_drv.c (NPUs);
hailo-ai/hailort-drivers, common/pcie_common.h; google/gasket-driver and google-coral/libedgetpu, debian/udev; OpenVINO,
97-myriad-usbboot.rules; Brainchip-Inc/akida_dw_edma, akida-pcie-core.c and 99-akida-pcie.rules; Jetson Linux Developer Guide and
the device trees in Linux, arch/arm64/boot/dts (processors); NXP i.MX Machine Learning User's Guide (delegates); Vitis AI UG1414.
"""

from __future__ import annotations

from dataclasses import dataclass

DISPLAY = "0x03"
"""First byte of the PCI class of graphics cards."""


@dataclass(frozen=True)
class Kind:
    """One kind of accelerator.

    name       with its article, as sentences begin
    pci, usb   "vendor:device", lower-case hexadecimal; "vendor:*" is any device of that vendor
    pci_class  what its PCI class begins with; "" is any
    soc        entries of the device tree's "compatible" of processors that have it
    nodes      patterns under the root, one of which its driver makes; () where there is none of its own
    is_told    whether a node alone tells it: nobody else makes one of that name
    node       the node to name in a sentence
    driver     what brings the node: the end of a sentence
    runtimes   which of farmd's runtimes drive it
    is_only    whether those runtimes drive nothing else: where one works, the libraries are there
    library    beginning of the file name of what its vendor's runtime loads
    install    what brings that library, or a version of the runtime up to `newest`
    newest     last version of the runtime that drives it; () for any
    udev       rule that lets others than root open its node
    """

    name: str
    runtimes: tuple[str, ...]
    pci: tuple[str, ...] = ()
    pci_class: str = ""
    usb: tuple[str, ...] = ()
    soc: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    is_told: bool = False
    node: str = ""
    driver: str = ""
    is_only: bool = True
    library: str = ""
    install: str = ""
    newest: tuple[int, ...] = ()
    udev: str = ""


_EDGETPU = "apt-get install libedgetpu1-std, from Google's repository (https://coral.ai/software)"
_EDGETPU_UDEV = 'SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e", ATTRS{idProduct}=="089a", GROUP="plugdev" and the same for 18d1:9302'
_TPU_LIBRARY = "libedgetpu.so.1"
_NPU_DRIVER = (
    "it needs Linux 6.3 or newer with the module intel_vpu, and the firmware: apt-get install intel-fw-npu"
)
_XDNA_DRIVER = "it needs Linux 6.14 or newer with the module amdxdna, or AMD's xdna-driver package"

KINDS: tuple[Kind, ...] = (
    Kind(
        "An NVIDIA GPU",
        ("tensorrt",),
        pci=("10de:*",),
        pci_class=DISPLAY,
        nodes=("dev/nvidia[0-9]*",),
        node="/dev/nvidia0",
        driver="install NVIDIA's driver (Debian: apt-get install nvidia-driver; Ubuntu: ubuntu-drivers install) and restart",
        udev='KERNEL=="nvidia*", MODE="0666"',
    ),
    Kind(
        "The GPU of a Jetson",
        ("tensorrt",),
        soc=("nvidia,tegra210", "nvidia,tegra186", "nvidia,tegra194", "nvidia,tegra234", "nvidia,tegra264"),
        nodes=("dev/nvhost-gpu", "dev/nvhost-ctrl-gpu", "dev/nvidia[0-9]*"),
        node="/dev/nvhost-gpu",
        driver="flash the board with JetPack, or start the container with --runtime nvidia",
        udev='KERNEL=="nvhost-*", GROUP="video", MODE="0660"',
    ),
    Kind("An NVDLA core", ("tensorrt",), nodes=("dev/nvhost-ctrl-nvdla[0-9]*",), is_told=True),
    Kind(
        "A Hailo-8",
        ("hailort",),
        pci=("1e60:2864",),
        nodes=("dev/hailo[0-9]*",),
        is_told=True,
        node="/dev/hailo0",
        driver="install hailort-pcie-driver of Hailo's Developer Zone (Raspberry Pi OS: apt-get install hailo-all) and restart",
        library="libhailort.so",
        install="install hailort of Hailo's Developer Zone (Raspberry Pi OS: apt-get install hailo-all)",
        udev='SUBSYSTEM=="hailo_chardev", MODE="0666"',
    ),
    Kind(
        "A Hailo-10H or Hailo-15L",
        ("hailort",),
        pci=("1e60:45c4", "1e60:43a2"),
        nodes=("dev/hailo[0-9]*",),
        node="/dev/hailo0",
        driver="install hailort-pcie-driver 5 of Hailo's Developer Zone (Raspberry Pi OS: hailo-h10-all) and restart",
        library="libhailort.so",
        install="install hailort 5 of Hailo's Developer Zone (Raspberry Pi OS: apt-get install hailo-h10-all)",
        udev='SUBSYSTEM=="hailo_chardev", MODE="0666"',
    ),
    Kind(
        "An Edge TPU",
        ("edgetpu",),
        pci=("1ac1:089a",),
        nodes=("dev/apex_[0-9]*",),
        is_told=True,
        node="/dev/apex_0",
        driver="apt-get install gasket-dkms, from Google's repository (https://coral.ai/docs/m2/get-started), and restart",
        library=_TPU_LIBRARY,
        install=_EDGETPU,
        udev='SUBSYSTEM=="apex", GROUP="apex", MODE="0660"',
    ),
    Kind(
        "An Edge TPU that nobody has opened yet",  # after the first opening it comes back as 18d1:9302
        ("edgetpu",),
        usb=("1a6e:089a",),
        library=_TPU_LIBRARY,
        install=_EDGETPU,
        udev=_EDGETPU_UDEV,
    ),
    Kind(
        "An Edge TPU",
        ("edgetpu",),
        usb=("18d1:9302",),
        library=_TPU_LIBRARY,
        install=_EDGETPU,
        udev=_EDGETPU_UDEV,
    ),
    Kind(
        "A Movidius Myriad",
        ("openvino",),
        usb=("03e7:2150", "03e7:2485", "03e7:f63b"),
        is_only=False,
        newest=(2022, 3),
        install="pip install 'openvino==2022.3.*' under Python 3.7 to 3.10",
        udev='SUBSYSTEM=="usb", ATTRS{idVendor}=="03e7", MODE="0666"',
    ),
    Kind(
        "An Intel GPU",
        ("openvino",),
        pci=("8086:*",),
        pci_class=DISPLAY,
        nodes=("dev/dri/renderD*",),
        node="/dev/dri/renderD128",
        driver="it needs the kernel module i915 or xe; in a container give it --device /dev/dri",
        is_only=False,
        library="libigdrcl.so",
        install="apt-get install intel-opencl-icd",
        udev='KERNEL=="renderD*", GROUP="render", MODE="0660"',
    ),
    Kind(
        "An Intel NPU",
        ("openvino",),
        pci=("8086:7d1d", "8086:ad1d", "8086:643e", "8086:b03e", "8086:fd3e"),
        nodes=("dev/accel/accel[0-9]*",),
        node="/dev/accel/accel0",
        driver=_NPU_DRIVER,
        is_only=False,
        library="libze_intel_npu.so",
        install="install intel-level-zero-npu (https://github.com/intel/linux-npu-driver/releases)",
        udev='SUBSYSTEM=="accel", GROUP="render", MODE="0660"',
    ),
    Kind(
        "An AMD NPU",
        ("onnxruntime",),
        pci=("1022:1502", "1022:17f0"),
        nodes=("dev/accel/accel[0-9]*",),
        node="/dev/accel/accel0",
        driver=_XDNA_DRIVER,
        is_only=False,
        library="libxrt_core.so",
        install="install AMD's XRT with its NPU plugin (https://github.com/amd/xdna-driver)",
        udev='SUBSYSTEM=="accel", GROUP="render", MODE="0660"',
    ),
    Kind(
        "An AMD GPU",
        ("onnxruntime",),
        pci=("1002:*",),
        pci_class=DISPLAY,
        nodes=("dev/kfd",),
        node="/dev/kfd",
        driver="it needs the kernel module amdgpu; in a container give it --device /dev/kfd --device /dev/dri",
        is_only=False,
        udev='KERNEL=="kfd", GROUP="render", MODE="0660"',
    ),
    Kind(
        "A BrainChip Akida",
        ("akida",),
        pci=("1e7c:*",),
        nodes=("dev/akida[0-9]*",),
        is_told=True,
        node="/dev/akida0",
        driver="build and load its driver (https://github.com/Brainchip-Inc/akida_dw_edma: sudo ./install.sh)",
        is_only=False,
        udev='KERNEL=="akida[0-9]*", MODE="0666"',
    ),
    Kind(
        "The FPGA that a DPU is loaded into",
        ("vitisai",),
        soc=("xlnx,zynqmp", "xlnx,versal"),
        nodes=("dev/dpu", "dev/dri/renderD*"),
        node="/dev/dri/renderD128",
        driver="load a design with a DPU (xmutil loadapp, fpgautil, or a Vitis AI image), and the module zocl",
        library="libvart-runner.so",
        install="use a Vitis AI image, or dnf install packagegroup-petalinux-vitisai",
        udev='KERNEL=="renderD*", GROUP="video", MODE="0660"',
    ),
    Kind(
        "The NPU of an i.MX 8M Plus",
        ("litert",),
        soc=("fsl,imx8mp",),
        nodes=("dev/galcore",),
        node="/dev/galcore",
        driver="it needs NXP's kernel with the module galcore (imx-gpu-viv)",
        is_only=False,
        library="libvx_delegate.so",
        install="use NXP's image imx-image-full, or build https://github.com/NXP/tflite-vx-delegate-imx",
        udev='KERNEL=="galcore", GROUP="video", MODE="0660"',
    ),
    Kind(
        "An Ethos-U",
        ("litert",),
        soc=("fsl,imx93",),
        nodes=("dev/ethosu[0-9]*",),
        is_told=True,
        node="/dev/ethosu0",
        driver="it needs NXP's kernel with the module ethosu, and its firmware running on the Cortex-M33",
        is_only=False,
        library="libethosu_delegate.so",
        install="use NXP's image imx-image-full",
        udev='KERNEL=="ethosu[0-9]*", GROUP="video", MODE="0660"',
    ),
)
