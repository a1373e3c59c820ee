// The ops that the library registers, each defined in the .cc of its stem.
#pragma once

#include "ort_abi.h"

const OrtCustomOp& channel_lut_op();
const OrtCustomOp& grid_lerp_op();
const OrtCustomOp& lerp_psa_op();
const OrtCustomOp& linear_op();
const OrtCustomOp& linear_sum_op();
const OrtCustomOp& patch_linear_op();
const OrtCustomOp& psa_op();
const OrtCustomOp& quant_op();
const OrtCustomOp& requant_op();
const OrtCustomOp& token_linear_op();
const OrtCustomOp& token_mean_op();
