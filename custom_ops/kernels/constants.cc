// Reading a layer's constants.

#include "constants.h"

Tensor constant_of(const Node& node, int index, const char* role) {
  Tensor tensor;
  if (!node.constant(static_cast<size_t>(index), &tensor)) node.refuse(std::string(role) + " must be a constant");
  return tensor;
}

Tensor weight_of(const Node& node, int index, int inputs_axis) {
  Tensor weight = constant_of(node, index, "weight");
  if (weight.type != kInt8 || weight.dims.size() != 2) node.refuse("weight " + weight.text() + " must be int8 of rank 2");
  const int64_t inputs = weight.dims[static_cast<size_t>(inputs_axis)];
  if (inputs < 1 || inputs > kMostInputs || weight.size() < 1) {
    node.refuse("weight " + weight.text() + " must have 1 to " + std::to_string(kMostInputs) + " inputs, and outputs");
  }
  return weight;
}

std::vector<int32_t> parameter_of(const Node& node, int index, const char* role, int64_t outputs) {
  const Tensor tensor = constant_of(node, index, role);
  if (tensor.type != kInt32 || tensor.dims.size() > 1 || (tensor.size() != 1 && tensor.size() != outputs)) {
    node.refuse(std::string(role) + " " + tensor.text() + " must be int32, one number or one for each of " +
                std::to_string(outputs) + " outputs");
  }
  const auto* values = tensor.as<int32_t>();
  if (tensor.size() == 1) return std::vector<int32_t>(static_cast<size_t>(outputs), values[0]);
  return std::vector<int32_t>(values, values + outputs);
}
