"""What the three shapes of the fake TensorRT share: each shape's package puts together the names that its version has.

WATTFARM_FAKE may hold, beside what fake_gpu.py and faking.py take:
  tensorrt     another version than the shape's own
  dla_cores    how many DLA cores there are (0), and dla_ops: the operators that they take (["Add", "Relu"])
  fast         what the GPU computes fast (["float16", "int8"])
  runs_in      {"float16": "float32"}: what the builder makes of a precision it is allowed, without a word
  inspector    "names": an engine built without details; "no" (8.0 and 8.1): there is none
  built_for    what plans say they were built for: {"version": ..., "capability": ...}
Faults: at "load" "parse", "build", "build_memory", "deserialize", "context"; at "infer" "enqueue" (execute_async returns False
and CUDA's error sticks), "illegal" (the error comes out when the stream is waited for), "shape" (set_input_shape returns False),
"capture" (an inference cannot be captured).
What a failed call says, it says in the log only; without a driver, 10 and 11 hand out objects around a null pointer.
Sources: TensorRT Python API of 8.2, 8.5, 8.6, 10 and 11; messages as the NVIDIA forum shows them.
"""
