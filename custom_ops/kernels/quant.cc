// QONNX's Quant: y = (round(clip(x / scale + zeropt, bottom, top)) - zeropt) * scale, in float32, ties to even.

#include <cctype>
#include <cmath>

#include "custom_op.h"
#include "isa.h"
#include "ops.h"
#include "parallel.h"

namespace {

using Dims = std::vector<int64_t>;

// What one element is quantized with.
struct Grid {
  const float *scale, *zero, *bottom, *top;
};

PSAFLOW_INLINE float quantize(float x, float scale, float zero, float bottom, float top) {
  const float v = x / scale + zero;
  const float below = v > top ? top : v;  // written so that what is not a number stays so
  const float clipped = below < bottom ? bottom : below;
  return (__builtin_rintf(clipped) - zero) * scale;
}

struct Same {
  static PSAFLOW_INLINE void run(const float* __restrict x, int64_t count, Grid grid, float* __restrict y) {
    const float scale = *grid.scale, zero = *grid.zero, bottom = *grid.bottom, top = *grid.top;
    for (int64_t i = 0; i < count; ++i) y[i] = quantize(x[i], scale, zero, bottom, top);
  }
};

struct Along {
  static PSAFLOW_INLINE void run(const float* __restrict x, int64_t count, Grid grid, float* __restrict y) {
    for (int64_t i = 0; i < count; ++i) y[i] = quantize(x[i], grid.scale[i], grid.zero[i], grid.bottom[i], grid.top[i]);
  }
};

// A tensor as all operands' common shape sees it: 0 where it is repeated.
struct View {
  View(const Tensor& tensor, const Dims& shape) : strides(shape.size()) {
    int64_t stride = 1;
    for (size_t back = 1; back <= tensor.dims.size(); ++back) {
      const int64_t size = tensor.dims[tensor.dims.size() - back];
      strides[shape.size() - back] = size == 1 ? 0 : stride;
      stride *= size;
    }
  }
  int64_t offset(int64_t row, const Dims& shape) const {  // of the first element of a row of the last dimension
    int64_t result = 0;
    for (size_t i = shape.size() - 1; i-- > 0; row /= shape[i]) result += row % shape[i] * strides[i];
    return result;
  }
  bool only_last() const {
    for (size_t i = 0; i + 1 < strides.size(); ++i) {
      if (strides[i] != 0) return false;
    }
    return true;
  }

  Dims strides;
};

template <typename T>
float element(const Tensor& tensor, int64_t i) {
  return static_cast<float>(tensor.as<T>()[i]);
}

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                          : exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                          : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

// The element of a tensor of any number type of ours, as float; false if it is of another type.
bool as_float(const Tensor& tensor, int64_t i, float* value) {
  switch (tensor.type) {
    case kFloat: *value = element<float>(tensor, i); return true;
    case kHalf: *value = from_half(tensor.as<uint16_t>()[i]); return true;
    case kDouble: *value = element<double>(tensor, i); return true;
    case kInt8: *value = element<int8_t>(tensor, i); return true;
    case kUint8: case kBool: *value = element<uint8_t>(tensor, i); return true;
    case kInt16: *value = element<int16_t>(tensor, i); return true;
    case kUint16: *value = element<uint16_t>(tensor, i); return true;
    case kInt32: *value = element<int32_t>(tensor, i); return true;
    case kUint32: *value = element<uint32_t>(tensor, i); return true;
    case kInt64: *value = element<int64_t>(tensor, i); return true;
    case kUint64: *value = element<uint64_t>(tensor, i); return true;
    default: return false;
  }
}

class Quant {
 public:
  static constexpr const char* kName = "Quant";
  static constexpr int kInputs[] = {kFloat, kFloat, kFloat, kAnyType}, kOutput = kFloat;

  Quant(const OrtApi& api, const OrtKernelInfo* info)
      : node_(api, info, kName, {"x", "scale", "zeropt", "bitwidth"}),
        isa_(chosen_isa()),
        signed_(static_cast<float>(node_.integer("signed", 1))),
        narrow_(static_cast<float>(node_.integer("narrow", 1))) {
    const std::string mode = node_.text("rounding_mode", "ROUND");
    std::string upper;
    for (const char letter : mode) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    if (upper != "ROUND" && upper != "HALF_EVEN") {
      node_.refuse("rounding_mode=" + mode + " is refused; use ROUND or HALF_EVEN");
    }
  }

  const OrtApi& api() const { return node_.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0), scale = input(api(), context, 1), zero = input(api(), context, 2);
    const Tensor bits = input(api(), context, 3);
    const auto refuse = [&](const std::string& reason) { node_.refuse({&x, &scale, &zero, &bits}, reason); };
    if (x.type != kFloat || scale.type != kFloat || zero.type != kFloat) refuse("x, scale and zeropt must be float");
    Dims shape;
    for (const Tensor* tensor : {&x, &scale, &zero, &bits}) {
      if (!broadcast(*tensor, &shape)) refuse("the shapes must broadcast");
    }
    std::vector<float> bottom(static_cast<size_t>(bits.size())), top(bottom.size());
    for (size_t i = 0; i < bottom.size(); ++i) {
      float width = 0;
      if (!as_float(bits, static_cast<int64_t>(i), &width)) refuse("bitwidth must be a float, double or integer");
      if (width == 1 && signed_ != 0) refuse("signed with 1 bit is bipolar in QONNX, not a range; use BipolarQuant");
      const float magnitude = std::pow(2.0F, width - signed_);  // step by step as in the function body
      top[i] = (magnitude - 1) - narrow_ * (1 - signed_);
      bottom[i] = (narrow_ - magnitude) * signed_;
    }
    auto* y = static_cast<float*>(output(api(), context, 0, shape));
    int64_t size = 1;
    for (const int64_t n : shape) size *= n;
    if (size == 0) return;
    const Grid grid{scale.as<float>(), zero.as<float>(), bottom.data(), top.data()};
    if (scale.size() == 1 && zero.size() == 1 && bits.size() == 1) {  // then x has the common shape
      return parallel_rows(api(), context, size, kCost, 64, [&](int64_t begin, int64_t end) {
        run_on<Same>(isa_, x.as<float>() + begin, end - begin, grid, y + begin);
      });
    }
    const Views views{View(scale, shape), View(zero, shape), View(bits, shape)};
    run(context, x.as<float>(), View(x, shape), grid, views, shape, y);
  }

 private:
  static constexpr double kCost = 0.5;  // nanoseconds an element

  struct Views {
    View scale, zero, bits;
  };

  static bool broadcast(const Tensor& tensor, Dims* shape) {
    if (tensor.dims.size() > shape->size()) shape->insert(shape->begin(), tensor.dims.size() - shape->size(), 1);
    for (size_t back = 1; back <= tensor.dims.size(); ++back) {
      const int64_t size = tensor.dims[tensor.dims.size() - back];
      int64_t& common = (*shape)[shape->size() - back];
      if (common == 1) common = size;
      if (size != 1 && size != common) return false;
    }
    return true;
  }

  // Operands of several elements: the common shape has a last dimension.
  void run(OrtKernelContext* context, const float* x, const View& of_x, const Grid& grid, const Views& of,
           const Dims& shape, float* y) const {
    const int64_t count = shape.back();
    int64_t rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    const double cost = kCost * static_cast<double>(count);
    const int64_t along_x = of_x.strides.back(), along_scale = of.scale.strides.back();
    const int64_t along_zero = of.zero.strides.back(), along_bits = of.bits.strides.back();
    const auto grid_of = [&](int64_t row) -> Grid {
      const int64_t bits = of.bits.offset(row, shape);
      return {grid.scale + of.scale.offset(row, shape), grid.zero + of.zero.offset(row, shape), grid.bottom + bits,
              grid.top + bits};
    };
    const bool dense = along_x == 1 || count == 1;
    if (dense && along_scale == 0 && along_zero == 0 && along_bits == 0) {
      return parallel_rows(api(), context, rows, cost, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          run_on<Same>(isa_, x + of_x.offset(row, shape), count, grid_of(row), y + row * count);
        }
      });
    }
    if (dense && of.scale.only_last() && of.zero.only_last() && of.bits.only_last()) {
      std::vector<float> scale, zero, bottom, top;
      for (int64_t i = 0; i < count; ++i) {
        scale.push_back(grid.scale[i * along_scale]);
        zero.push_back(grid.zero[i * along_zero]);
        bottom.push_back(grid.bottom[i * along_bits]);
        top.push_back(grid.top[i * along_bits]);
      }
      const Grid spread{scale.data(), zero.data(), bottom.data(), top.data()};
      return parallel_rows(api(), context, rows, cost, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          run_on<Along>(isa_, x + of_x.offset(row, shape), count, spread, y + row * count);
        }
      });
    }
    parallel_rows(api(), context, rows, 10 * cost, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const Grid g = grid_of(row);
        const float* from = x + of_x.offset(row, shape);
        for (int64_t i = 0; i < count; ++i) {
          y[row * count + i] = quantize(from[i * along_x], g.scale[i * along_scale], g.zero[i * along_zero],
                                        g.bottom[i * along_bits], g.top[i * along_bits]);
        }
      }
    });
  }

  Node node_;
  Isa isa_;
  float signed_, narrow_;
};

}  // namespace

const OrtCustomOp& quant_op() { return custom_op<Quant>(); }
