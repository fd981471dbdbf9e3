"""Operators that the convention keeps apart from the operation count, by kind, and those that only move data.

Every operator of the ONNX domain stands either here, in `onnx_formulas`, or in `NO_RULE`; a test walks the
installed ONNX schemas so that a new operator is never counted as 0 by accident.
"""

from typing import Final

ONNX = ""
MICROSOFT = "com.microsoft"
CLASSIC_ML = "ai.onnx.ml"


def _keys(domain: str, names: str) -> frozenset[tuple[str, str]]:
    return frozenset((domain, name) for name in names.split())


NORMALISATION: Final = _keys(
    ONNX,
    "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization LpNormalization LRN "
    "MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization",
) | _keys(
    MICROSOFT,
    "EmbedLayerNormalization GroupNorm QEmbedLayerNormalization QOrderedLayerNormalization SkipGroupNorm "
    "SkipLayerNormalization SkipSimplifiedLayerNormalization BranchwiseRMSNorm GatedRMSNorm",
)
ACTIVATION: Final = _keys(
    ONNX,
    "Celu Clip Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu Shrink Sigmoid "
    "Softmax Softplus Softsign SwiGLU Swish Tanh ThresholdedRelu",
) | _keys(
    MICROSOFT,
    "BiasGelu BiasSoftmax BiasSplitGelu FastGelu Gelu QLinearLeakyRelu QLinearSigmoid QLinearSoftmax "
    "QOrderedGelu QuickGelu ScaledSiLU",
)
POOLING: Final = _keys(
    ONNX, "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxRoiPool RoiAlign"
) | _keys(MICROSOFT, "MaxpoolWithMask NhwcMaxPool QLinearAveragePool QLinearGlobalAveragePool")
GLOBAL_POOLING: Final = _keys(ONNX, "GlobalAveragePool GlobalLpPool GlobalMaxPool") | _keys(
    MICROSOFT, "QLinearGlobalAveragePool"
)
REDUCTION: Final = _keys(
    ONNX,
    "ArgMax ArgMin CumProd CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum ReduceSumSquare",
) | _keys(MICROSOFT, "QLinearReduceMean ReduceSumInteger")
ELEMENTWISE: Final = _keys(
    ONNX,
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Cos "
    "Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul "
    "Neg Not Or Pow Reciprocal RotaryEmbedding Round Sign Sin Sinh Sqrt Sub Sum Tan Where Xor",
) | _keys(
    MICROSOFT,
    "BiasAdd BiasDropout ComplexMul ComplexMulConj GatedAdd GemmaRotaryEmbedding IsAllFinite MulInteger "
    "QLinearAdd QLinearMul QLinearWhere RotaryEmbedding",
)
QUANTISATION: Final = _keys(ONNX, "DequantizeLinear DynamicQuantizeLinear QuantizeLinear") | _keys(
    MICROSOFT,
    "DequantizeBFP DequantizeLinear DequantizeWithOrder QuantizeBFP QuantizeLinear QuantizeWithOrder",
)
RESAMPLING: Final = _keys(ONNX, "AffineGrid GridSample Resize Upsample") | _keys(
    MICROSOFT, "CropAndResize GridSample"
)

MOVES_DATA: Final = (
    _keys(
        ONNX,
        "Bernoulli BitCast BlackmanWindow Cast CastLike CenterCropPad Col2Im Compress Concat ConcatFromSequence "
        "Constant ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten Gather GatherElements GatherND "
        "HammingWindow HannWindow Identity ImageDecoder MaxUnpool Multinomial NonMaxSuppression NonZero OneHot "
        "Optional OptionalGetElement OptionalHasElement Pad RandomNormal RandomNormalLike RandomUniform "
        "RandomUniformLike Range RegexFullMatch Reshape ReverseSequence Scatter ScatterElements ScatterND "
        "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Size Slice "
        "SpaceToDepth Split SplitToSequence Squeeze StringConcat StringNormalizer StringSplit TensorScatter "
        "TfIdfVectorizer Tile TopK Transpose Trilu Unique Unsqueeze MelWeightMatrix",
    )
    | _keys(
        MICROSOFT,
        "BitmaskDropout ExpandDims GatherBlockQuantized GatherND MurmurHash3 NGramRepeatBlock Pad QLinearConcat "
        "Range RemovePadding RestorePadding TorchEmbedding Tokenizer Trilu UnfoldTensor Unique",
    )
    | _keys(
        CLASSIC_ML,
        "ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer "
        "LabelEncoder OneHotEncoder ZipMap",
    )
)

CONTROL_FLOW: Final = _keys(ONNX, "If Loop Scan")

NO_RULE: Final[dict[tuple[str, str], str]] = {
    (ONNX, "DFT"): "the cost of a Fourier transform depends on the algorithm",
    (ONNX, "STFT"): "the cost of a Fourier transform depends on the algorithm",
    (ONNX, "Det"): "the cost of a determinant depends on the algorithm",
    (ONNX, "LinearAttention"): "the cost of linear attention depends on its chunking",
    (ONNX, "NegativeLogLikelihoodLoss"): "a training operator",
    (ONNX, "SoftmaxCrossEntropyLoss"): "a training operator",
    (ONNX, "SequenceMap"): "its number of steps is not known before the run",
}

KINDS: Final = {
    "normalisation": NORMALISATION,
    "activation": ACTIVATION,
    "pooling": POOLING,
    "reduction": REDUCTION,
    "elementwise": ELEMENTWISE,
    "quantisation": QUANTISATION,
    "resampling": RESAMPLING,
}
KIND_OF: Final[dict[tuple[str, str], str]] = {key: kind for kind, keys in KINDS.items() for key in keys}
