"""Options: unknown ones named with the nearest, values typed, shapes and batches resolved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.errors import OptionInvalid, PrecisionUnsupported
from targets.options import LoadOptions, resolve_shapes

DYNAMIC = [("x", (-1, 3, -1, -1))]
STATIC = [("x", (1, 3, 8, 8))]


def options(batch: int | None = None, **values: str) -> LoadOptions:
    return LoadOptions("onnx", None, batch, {key.replace("__", "."): value for key, value in values.items()})


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(OptionInvalid, match="did you mean 'threads'") as caught:
        options(thread="2").check_known("r", [])
    assert caught.value.details["option"] == "thread"
    with pytest.raises(OptionInvalid, match=r"'shape\.'"):
        LoadOptions("onnx", None, None, {"shape.": "1"}).check_known("r", [])
    options(threads="2", shape__x="1").check_known("r", [])


@pytest.mark.parametrize("value", ["", "two", "0", "-1", "1.5", "2 3"])
def test_integers_are_refused_not_clipped(value: str) -> None:
    with pytest.raises(OptionInvalid, match="threads="):
        options(threads=value).integer("threads")


def test_typed_values() -> None:
    given_ = options(threads="3", spinning="0", scenario="throughput")
    assert given_.integer("threads") == 3
    assert given_.integer("streams") is None
    assert given_.flag("spinning") is False
    assert given_.flag("other") is None
    assert given_.scenario == "throughput"
    with pytest.raises(OptionInvalid, match="did you mean 'latency'"):
        _ = options(scenario="latnecy").scenario


def test_unknown_precision_and_batch() -> None:
    with pytest.raises(PrecisionUnsupported, match="did you mean 'float16'"):
        LoadOptions("onnx", "floats16")
    with pytest.raises(OptionInvalid, match="batch 0"):
        LoadOptions("onnx", None, 0)


def test_batch_fills_dynamic_first_dimensions() -> None:
    assert resolve_shapes(DYNAMIC, options(8)) == [(8, 3, -1, -1)]
    assert resolve_shapes(STATIC, options(1)) == [(1, 3, 8, 8)]
    assert resolve_shapes([*DYNAMIC, ("scale", (1,))], options(8)) == [(8, 3, -1, -1), (1,)]
    with pytest.raises(OptionInvalid, match=r"static shape \[1, 3, 8, 8\]"):
        resolve_shapes(STATIC, options(8))
    with pytest.raises(OptionInvalid, match="batch 2"):
        resolve_shapes([("x", ())], options(2))


def test_shapes_bind_dimensions() -> None:
    assert resolve_shapes(DYNAMIC, options(shape__x="2,3,16,16")) == [(2, 3, 16, 16)]
    assert resolve_shapes(DYNAMIC, options(2, shape__x="2,3,16,16")) == [(2, 3, 16, 16)]
    for wrong in ("2,4,16,16", "2,3,16", "2,3,16,16,1"):
        with pytest.raises(OptionInvalid, match="cannot take"):
            resolve_shapes(DYNAMIC, options(shape__x=wrong))
    for broken in ("2,3,a,1", "2;3", "0,3,1,1", "-1,3,1,1"):
        with pytest.raises(OptionInvalid, match="sizes from 1 up"):
            resolve_shapes(DYNAMIC, options(shape__x=broken))
    with pytest.raises(OptionInvalid, match="did you mean 'image'"):
        resolve_shapes([("image", (-1,))], options(shape__imgae="1"))


SHAPES = st.lists(st.sampled_from([-1, 1, 3, 224]), max_size=4).map(tuple)


@given(st.lists(SHAPES, min_size=1, max_size=3), st.integers(1, 300))
def test_a_batch_changes_nothing_but_dynamic_first_dimensions(
    shapes: list[tuple[int, ...]], batch: int
) -> None:
    declared = [(f"i{at}", shape) for at, shape in enumerate(shapes)]
    try:
        found = resolve_shapes(declared, options(batch))
    except OptionInvalid:
        assert all(not shape or shape[0] not in (-1, batch) for shape in shapes)
        return
    for before, after in zip(shapes, found, strict=True):
        assert after[1:] == before[1:]
        assert after[:1] == ((batch,) if before[:1] == (-1,) else before[:1])
