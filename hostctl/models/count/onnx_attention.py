"""MACs of fused attention: the matrix products inside it, with every query against every key.

A causal or local mask does not lower the count: runtimes differ in whether they skip what is masked.
Shapes are those of the ONNX operator documentation and of ONNX Runtime's ContribOperators.md.
"""

from collections.abc import Callable

from hostctl.models.count.onnx_node import NodeView, RuleError, elements


def onnx_attention_macs(node: NodeView) -> int:
    """ai.onnx Attention: Q (B, H, S, d) or (B, S, H·d); K and V likewise; past_key (B, Hkv, P, d) comes first."""
    q, k, v = node.inp(0), node.inp(1), node.inp(2)
    past = node.inp(4)[2] if node.has(4) else 0
    if len(q) == 4:
        batch, heads, queries, depth = q
        return batch * heads * queries * (k[2] + past) * (depth + v[3])
    heads = int(node.attr("q_num_heads"))
    kv_heads = int(node.attr("kv_num_heads"))
    value_depth = v[2] // kv_heads
    return q[0] * q[1] * (k[1] + past) * (q[2] + heads * value_depth)


def microsoft_attention_macs(past_index: int) -> Callable[[NodeView], int]:
    """com.microsoft Attention and QAttention: input (B, S, D) times weights (D, Nq + Nk + Nv), then attention."""

    def macs(node: NodeView) -> int:
        batch, length, depth = node.inp(0)
        weights = node.inp(1)
        sizes = [int(size) for size in node.attr("qkv_hidden_sizes", [])] or [weights[1] // 3] * 3
        past = node.inp(past_index)[3] if node.has(past_index) else 0
        projection = batch * length * depth * weights[1]
        return projection + batch * length * (length + past) * (sizes[0] + sizes[2])

    return macs


def multi_head_macs(node: NodeView) -> int:
    """com.microsoft MultiHeadAttention: query (B, S, D) or packed QKV (B, S, H, 3, d); key and value 3-D or 4-D."""
    q = node.inp(0)
    past = node.inp(6)[2] if node.has(6) else 0
    if len(q) == 5:
        batch, queries, heads, _, depth = q
        return batch * queries * (queries + past) * 2 * heads * depth
    if not node.has(1):
        raise RuleError("it has a query but no key")
    k = node.inp(1)
    if len(k) == 5:
        return q[0] * q[1] * (k[1] + past) * 2 * q[2]
    keys = k[2] if len(k) == 4 else k[1]
    v = node.inp(2)
    value_width = v[1] * v[3] if len(v) == 4 else v[2]
    return q[0] * q[1] * (keys + past) * (q[2] + value_width)


def grouped_query_macs(node: NodeView) -> int:
    """com.microsoft GroupQueryAttention: the output (B, S, H·d) tells H·d; present_key (B, Hkv, T, d) the keys."""
    out = node.out(0)
    past = node.inp(3)[2] if node.has(3) else 0
    keys = node.out(1)[2] if node.has_out(1) else out[1] + past
    return 2 * elements(out) * keys
