"""From an exported graph to integers, and from integers to hardware nodes: one rewrite a file, the stages as tuples."""

from collections.abc import Mapping

from qonnx.transformation.base import Transformation

from passes.affine_to_requant import AffineToRequant
from passes.annotate import AnnotateDatatypes, InferShapes, RemoveUnused
from passes.cancel_transposes import CancelTransposes
from passes.check_accumulators import CheckAccumulators
from passes.expand_table import ExpandTable
from passes.fold_to_target import FoldToTarget
from passes.fold_weight_transpose import FoldWeightTranspose
from passes.function_to_lut import FunctionToLUT
from passes.fuse_linear import FuseLinear
from passes.fuse_linear_sum import FuseLinearSum
from passes.fuse_patches import FusePatches
from passes.fuse_residual import FuseResidual
from passes.fuse_table_before import FuseTableBefore
from passes.fuse_table_behind import FuseTableBehind
from passes.fuse_token_linear import FuseTokenLinear
from passes.fuse_token_mean import FuseTokenMean
from passes.gemm_to_matmul import GemmToMatMul
from passes.graph import PassRefusal
from passes.infer_channel_lut import InferChannelLUT
from passes.infer_channel_requant import InferChannelRequant
from passes.infer_mat_vec import InferMatVec
from passes.infer_patches import InferPatches
from passes.infer_residual_add import InferResidualAdd
from passes.infer_token_mean import InferTokenMean
from passes.infer_token_mix import InferTokenMix
from passes.insert_forks import InsertForks
from passes.insert_width_converters import InsertWidthConverters
from passes.lift_constants import LiftConstants
from passes.logits_to_integer import LogitsToInteger
from passes.matmul_to_integer import MatMulToInteger
from passes.mean_to_integer import MeanToInteger
from passes.merge_tables import MergeTables
from passes.move_dequantize_down import MoveDequantizeDown
from passes.move_quant_up import MoveQuantUp
from passes.move_squeeze_down import MoveSqueezeDown
from passes.move_transpose_up import MoveTransposeUp
from passes.quant_to_qdq import QuantToQDQ
from passes.require_hardware import RequireHardware
from passes.require_integer import RequireInteger
from passes.residual_to_integer import ResidualToInteger
from passes.size_fifos import SizeFifos
from passes.spread_table import SpreadTable
from passes.tabulate_psa import TabulatePSA
from passes.tabulate_requant import TabulateRequant
from passes.transposed_matmul import TransposedMatMul

TIDY = (
    LiftConstants(),
    RemoveUnused(),
    InferShapes(),
    GemmToMatMul(),
    FoldWeightTranspose(),
    InferShapes(),
    AnnotateDatatypes(),
)

STREAMLINE = (
    MoveQuantUp(),
    MoveTransposeUp(),
    TransposedMatMul(),
    TabulatePSA(),
    InferShapes(),
    AnnotateDatatypes(),
)

INTEGER = (
    QuantToQDQ(),
    MoveDequantizeDown(),
    InferShapes(),
    AffineToRequant(),
    MatMulToInteger(),
    ResidualToInteger(),
    MeanToInteger(),
    LogitsToInteger(),
    FunctionToLUT(),
    CancelTransposes(),
    InferShapes(),
    RequireInteger(),
    CheckAccumulators(),
    AnnotateDatatypes(),
)

RUNTIME = (
    InferShapes(),
    TabulateRequant(),
    ExpandTable(),
    SpreadTable(),
    MergeTables(),
    FuseLinear(),
    FuseTokenLinear(),
    FuseLinearSum(),
    FuseTokenMean(),
    FuseTableBehind(),
    FuseTableBefore(),
    FuseResidual(),
    FusePatches(),
    InferShapes(),
    AnnotateDatatypes(),
)


def dataflow(target_cycles: int, folding: Mapping[str, Mapping[str, int]] | None = None) -> tuple[Transformation, ...]:
    """The passes to a streaming accelerator of at most `target_cycles` per image; `folding` overrides nodes by name."""
    return (
        InferPatches(),
        SpreadTable(),
        InferChannelLUT(),
        InferTokenMix(),
        InferMatVec(),
        InferResidualAdd(),
        InferTokenMean(),
        InferChannelRequant(),
        InferShapes(),
        MoveSqueezeDown(),
        RequireHardware(),
        InferShapes(),
        InsertForks(),
        InferShapes(),
        FoldToTarget(target_cycles, folding),
        InsertWidthConverters(),
        SizeFifos(),
        InferShapes(),
        AnnotateDatatypes(),
    )


__all__ = ["INTEGER", "RUNTIME", "STREAMLINE", "TIDY", "PassRefusal", "dataflow"]
