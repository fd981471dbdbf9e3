"""A fake of Vitis AI's vitis_ai_library: GraphRunner, for whole xmodels with parts on the CPU.

Source: Xilinx/Vitis-AI 3.5, src/vai_library/graph_runner/python/graph_runner_py_module.cpp.
"""

import fake_dpu
import faking
import vart
import xir

faking.trip("import")


class GraphRunner:
    """Only a factory: what it makes is vart's."""

    @staticmethod
    def create_graph_runner(graph: xir.Graph) -> vart.RunnerExt:
        """Create a runner of all parts; without a DPU this ends the process."""
        vart.start_session()
        model, batch = graph.model, fake_dpu.engines()
        fingerprints = [one.get("dpu_fingerprint", 0) for one in model["children"] if one["device"] == "DPU"]
        return vart.RunnerExt(
            [xir.Tensor(name, model["tensors"][name], batch) for name in model["inputs"]],
            [xir.Tensor(name, model["tensors"][name], batch) for name in model["outputs"]],
            int(fingerprints[0]),
        )
