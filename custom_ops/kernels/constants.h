// Constants of a layer, read when a session is made; what does not fit is refused by name and shape.
#pragma once

#include "tensor.h"

constexpr int64_t kMostInputs = 1 << 16;  // of a product of int8, whose accumulators then stay within 2**30

// Input `index` of a node; Refusal if it is not constant.
Tensor constant_of(const Node& node, int index, const char* role);

// A matrix int8 of 1 to kMostInputs inputs, along dimension `inputs_axis` (0 or 1), and of at least one output.
Tensor weight_of(const Node& node, int index, int inputs_axis);

// An int32 for each of `outputs`, from as many or from one number.
std::vector<int32_t> parameter_of(const Node& node, int index, const char* role, int64_t outputs);
