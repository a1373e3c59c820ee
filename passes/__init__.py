"""From an exported graph to integers, and from integers to hardware nodes: one rewrite a file, the stages as tuples."""

from collections.abc import Mapping

from qonnx.transformation.base import Transformation

from passes.affine_to_requant import AffineToRequant
from passes.annotate import AnnotateDatatypes, InferShapes, RemoveUnused
from passes.cancel_transposes import CancelTransposes
from passes.check_accumulators import CheckAccumulators
from passes.drop_constant_inputs import DropConstantInputs
from passes.expand_table import ExpandTable
from passes.finn.affine_to_psa_requant import AffineToPSARequant
from passes.finn.drop_renames import DropRenames
from passes.finn.finn_layout import FinnLayout
from passes.finn.fork_to_duplicate_streams import ForkToDuplicateStreams
from passes.finn.mat_vec_to_mvau import MatVecToMVAU
from passes.finn.patches_to_outer_shuffle import PatchesToOuterShuffle
from passes.finn.residual_add_to_elementwise_add import ResidualAddToElementwiseAdd
from passes.finn.table_to_psa_lut import TableToPSALUT
from passes.finn.token_mean_to_global_acc_pool import TokenMeanToGlobalAccPool
from passes.finn.token_mix_to_psa_token_mix import TokenMixToPSATokenMix
from passes.fold_clip import FoldClip
from passes.fold_constants import FoldConstants
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
from passes.minimize_widths import MinimizeWidths
from passes.move_dequantize_down import MoveDequantizeDown
from passes.move_quant_up import MoveQuantUp
from passes.move_squeeze_down import MoveSqueezeDown
from passes.move_transpose_up import MoveTransposeUp
from passes.output_to_integer import OutputToInteger
from passes.quant_to_qdq import QuantToQDQ
from passes.remove_identity import RemoveIdentity
from passes.remove_requantization import RemoveRequantization
from passes.rename_int_quant import RenameIntQuant
from passes.require_hardware import RequireHardware
from passes.require_integer import RequireInteger
from passes.residual_to_integer import ResidualToInteger
from passes.signed_activations import SignedActivations
from passes.size_fifos import SizeFifos
from passes.spread_table import SpreadTable
from passes.tabulate_psa import TabulatePSA
from passes.tabulate_requant import TabulateRequant
from passes.transposed_matmul import TransposedMatMul

TIDY = (
    DropConstantInputs(),
    LiftConstants(),
    RemoveUnused(),
    RenameIntQuant(),
    RemoveIdentity(),
    FoldConstants(),
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
    SignedActivations(),
    MoveDequantizeDown(),
    RemoveRequantization(),
    InferShapes(),
    AffineToRequant(),
    MatMulToInteger(),
    ResidualToInteger(),
    MeanToInteger(),
    LogitsToInteger(),
    OutputToInteger(),
    FunctionToLUT(),
    FoldClip(),
    CancelTransposes(),
    InferShapes(),
    RequireInteger(),
    CheckAccumulators(),
    MinimizeWidths(),
    AnnotateDatatypes(),
)

RUNTIME = (
    LiftConstants(),
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


HARDWARE = (
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
)

TO_FINN = (
    *HARDWARE,
    AnnotateDatatypes(),
    DropRenames(),
    ForkToDuplicateStreams(),
    PatchesToOuterShuffle(),
    TableToPSALUT(),
    AffineToPSARequant(),
    TokenMixToPSATokenMix(),
    MatVecToMVAU(),
    ResidualAddToElementwiseAdd(),
    TokenMeanToGlobalAccPool(),
    FinnLayout(),
)


def dataflow(
    target_cycles: int | None,
    folding: Mapping[str, Mapping[str, int]] | None = None,
    device: str | None = None,
    margin: float = 0.85,
) -> tuple[Transformation, ...]:
    """The passes to a streaming accelerator of at most `target_cycles` per image, or as fast as fits `device`.

    `folding` overrides nodes by name; `margin` is the part of the device's LUTs that may be used.
    """
    return (
        *HARDWARE,
        FoldToTarget(target_cycles, folding, device, margin),
        InsertWidthConverters(),
        SizeFifos(),
        InferShapes(),
        AnnotateDatatypes(),
    )


__all__ = ["HARDWARE", "INTEGER", "RUNTIME", "STREAMLINE", "TIDY", "TO_FINN", "PassRefusal", "dataflow"]
