// Reading a node's attributes and tensors through onnxruntime's C interface.

#include "tensor.h"

namespace {

// Text that onnxruntime hands over in two calls: its size with the terminator, then its bytes.
template <typename Read>
std::string text_of(const OrtApi& api, const Read& read, const std::string& missing) {
  size_t size = 0;
  OrtStatus* status = read(nullptr, &size);
  std::string text(size, '\0');
  if (status == nullptr && size > 0) status = read(&text[0], &size);
  if (status != nullptr) {
    api.release(status);
    return missing;
  }
  return text.c_str();  // drops the terminator
}

template <typename T>
T number_of(const OrtApi& api, const OrtKernelInfo* info, const char* name, T missing) {
  T value{};
  OrtStatus* status = api.attribute(info, name, &value);
  if (status == nullptr) return value;
  api.release(status);
  return missing;
}

const char* type_name(int type) {
  switch (type) {
    case kFloat: return "float";
    case kUint8: return "uint8";
    case kInt8: return "int8";
    case kUint16: return "uint16";
    case kInt16: return "int16";
    case kInt32: return "int32";
    case kInt64: return "int64";
    case kBool: return "bool";
    case kHalf: return "float16";
    case kDouble: return "double";
    case kUint32: return "uint32";
    case kUint64: return "uint64";
    default: return nullptr;
  }
}

}  // namespace

std::string Tensor::text() const {
  const char* name = type_name(type);
  std::string result = (name ? std::string(name) : "type " + std::to_string(type) + " ") + "[";
  for (size_t i = 0; i < dims.size(); ++i) result += (i ? "," : "") + std::to_string(dims[i]);
  return result + "]";
}

Tensor tensor_of(const OrtApi& api, const OrtValue* value) {
  OrtShape* shape = nullptr;
  check(api, api.shape(value, &shape), "a tensor's shape");
  Tensor tensor;
  size_t rank = 0;
  OrtStatus* status = api.type(shape, &tensor.type);
  if (status == nullptr) status = api.rank(shape, &rank);
  if (status == nullptr) {
    tensor.dims.resize(rank);
    status = api.dims(shape, tensor.dims.data(), rank);
  }
  api.release(shape);
  check(api, status, "a tensor's shape");
  void* data = nullptr;  // the interface has one call for reading and writing
  check(api, api.data(const_cast<OrtValue*>(value), &data), "a tensor's data");
  tensor.data = data;
  return tensor;
}

Tensor input(const OrtApi& api, const OrtKernelContext* context, size_t index) {
  OrtValue* value = nullptr;
  check(api, api.input(context, index, &value), "an input");
  return tensor_of(api, value);
}

void* output(const OrtApi& api, OrtKernelContext* context, size_t index, const std::vector<int64_t>& dims) {
  OrtValue* value = nullptr;
  check(api, api.output(context, index, dims.data(), dims.size(), &value), "an output");
  void* data = nullptr;
  check(api, api.data(value, &data), "an output's data");
  return data;
}

Node::Node(const OrtApi& api, const OrtKernelInfo* info, const char* op, std::initializer_list<const char*> roles)
    : api(api), info_(info), label_(op) {
  const auto read_name = [&](char* text, size_t* size) { return api.node_name(info, text, size); };
  const std::string name = text_of(api, read_name, "");
  if (!name.empty()) label_ += " '" + name + "'";
  for (const char* role : roles) {
    const size_t index = roles_.size();
    const auto read = [&](char* text, size_t* size) { return api.input_name(info, index, text, size); };
    roles_.push_back(std::string(role) + " '" + text_of(api, read, "") + "'");
  }
}

int64_t Node::integer(const char* attribute, int64_t missing) const {
  return number_of(api, info_, attribute, missing);
}

float Node::real(const char* attribute, float missing) const { return number_of(api, info_, attribute, missing); }

std::string Node::text(const char* attribute, const std::string& missing) const {
  const auto read = [&](char* text, size_t* size) { return api.attribute(info_, attribute, text, size); };
  return text_of(api, read, missing);
}

bool Node::constant(size_t index, Tensor* tensor) const {
  int is_constant = 0;
  const OrtValue* value = nullptr;
  check(api, api.constant_input(info_, index, &is_constant, &value), "a constant");
  if (!is_constant || value == nullptr) return false;
  *tensor = tensor_of(api, value);
  return true;
}

void Node::refuse(const std::string& reason) const { throw Refusal(label_ + ": " + reason); }

void Node::refuse(std::initializer_list<const Tensor*> tensors, const std::string& reason) const {
  std::string text = label_ + " of ";
  size_t index = 0;
  for (const Tensor* tensor : tensors) {
    if (index) text += index + 1 == tensors.size() ? " and " : ", ";
    text += roles_[index++] + " " + tensor->text();
  }
  throw Refusal(text + ": " + reason);
}

bool Node::half_up() const {
  const std::string rounding = text("rounding", "HALF_EVEN");
  if (rounding != "HALF_UP" && rounding != "HALF_EVEN") {
    refuse("rounding=" + rounding + " must be HALF_EVEN or HALF_UP");
  }
  return rounding == "HALF_UP";
}

Limits Node::limits() const {
  const Limits found{integer("lo", -128), integer("hi", 127)};
  if (found.lo < -128 || found.lo > found.hi || found.hi > 127) {
    refuse("lo=" + std::to_string(found.lo) + ", hi=" + std::to_string(found.hi) + " must satisfy -128 <= lo <= hi <= 127");
  }
  return found;
}
