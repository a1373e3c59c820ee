#pragma once

#include "ort_abi.h"

const OrtCustomOp& channel_lut_op();
