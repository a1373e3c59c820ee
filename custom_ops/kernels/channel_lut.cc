// ChannelLUT: y[..., c] = table[c, x[..., c] - lowest], from a full table or by interpolating between knots.

#include "channel_lut.h"

#include "tensor.h"

namespace {

constexpr int64_t kCodes = 256;

// round(value / 2**bits) for bits >= 1; >> of a negative number is arithmetic in every compiler in use.
int shift_right(int value, int bits, bool half_up) {
  const int half = 1 << (bits - 1);
  return half_up ? (value + half) >> bits : (value + half - 1 + ((value >> bits) & 1)) >> bits;
}

// table int8 [channels, width] of knots every 2**bits codes -> full int8 [channels, 256]
void expand(const int8_t* table, int64_t channels, int64_t width, int bits, bool half_up, int8_t* full) {
  for (int64_t c = 0; c < channels; ++c, table += width) {
    for (int index = 0; index < kCodes; ++index) {
      const int left = table[index >> bits], right = table[(index >> bits) + 1];
      const int fraction = index & ((1 << bits) - 1);
      *full++ = static_cast<int8_t>(left + shift_right((right - left) * fraction, bits, half_up));
    }
  }
}

// codes [rows, channels] are the input's bytes; flip makes a byte an index: 128 for int8, 0 for uint8.
void channel_lut(const uint8_t* codes, const int8_t* table, uint8_t flip, int64_t rows, int64_t channels,
                 int8_t* y) {
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* entries = table;
    for (int64_t c = 0; c < channels; ++c, entries += kCodes) *y++ = entries[*codes++ ^ flip];
  }
}

// Bits that interpolate in a table of `width` entries: 0 for a full one, -1 for no such table.
int interpolated_bits(int64_t width) {
  if (width == kCodes) return 0;
  for (int bits = 1; bits <= 7; ++bits) {
    if (width == (kCodes >> bits) + 1) return bits;
  }
  return -1;
}

struct ChannelLut {
  ChannelLut(const OrtApi& api, const OrtKernelInfo* info) : api(api) {
    const auto read_rounding = [&](char* text, size_t* size) {
      return api.attribute(info, "rounding", text, size);
    };
    const std::string rounding = text_of(api, read_rounding, "HALF_EVEN");
    half_up = rounding == "HALF_UP";
    if (!half_up && rounding != "HALF_EVEN") {
      throw Refusal("ChannelLUT: rounding=" + rounding + " must be HALF_EVEN or HALF_UP");
    }
    lowest = attribute(api, info, "lowest", -128);
    for (size_t i = 0; i < 2; ++i) {
      const auto read_name = [&](char* text, size_t* size) { return api.input_name(info, i, text, size); };
      names[i] = text_of(api, read_name, "?");
    }
  }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api, context, 0), table = input(api, context, 1);
    const auto refuse = [&](const std::string& reason) {
      throw Refusal("ChannelLUT of x '" + names[0] + "' " + x.text() + " and table '" + names[1] + "' " +
                    table.text() + ": " + reason);
    };
    if (x.type != kInt8 && x.type != kUint8) refuse("x must be int8 or uint8");
    if (lowest != (x.type == kInt8 ? -128 : 0)) {
      refuse("lowest=" + std::to_string(lowest) + " must be -128 for int8, 0 for uint8");
    }
    if (table.type != kInt8) refuse("table must be int8");
    if (x.dims.empty() || table.dims.size() != 2) refuse("x must be [.., channels], table [channels, entries]");
    const int64_t channels = x.dims.back(), width = table.dims[1];
    if (table.dims[0] != channels) refuse("table must have one row for each of x's channels");
    const int bits = interpolated_bits(width);
    if (bits < 0) refuse("table must have 256 entries, or 129, 65, 33, 17, 9, 5 or 3 knots");

    int64_t rows = 1;
    for (size_t i = 0; i + 1 < x.dims.size(); ++i) rows *= x.dims[i];
    const auto* entries = static_cast<const int8_t*>(table.data);
    std::vector<int8_t> full(bits ? channels * kCodes : 0);
    if (bits) {
      expand(entries, channels, width, bits, half_up, full.data());
      entries = full.data();
    }
    auto* y = static_cast<int8_t*>(output(api, context, 0, x.dims));
    const uint8_t flip = x.type == kInt8 ? 0x80 : 0;
    channel_lut(static_cast<const uint8_t*>(x.data), entries, flip, rows, channels, y);
  }

  const OrtApi& api;
  bool half_up = false;
  int64_t lowest = -128;
  std::string names[2];
};

}  // namespace

const OrtCustomOp& channel_lut_op() {
  static const OrtCustomOp op = [] {
    OrtCustomOp made;
    made.name = [](const OrtCustomOp*) { return "ChannelLUT"; };
    made.execution_provider = [](const OrtCustomOp*) -> const char* { return nullptr; };  // CPU
    made.input_count = [](const OrtCustomOp*) -> size_t { return 2; };
    made.input_type = [](const OrtCustomOp*, size_t index) -> int { return index == 0 ? kAnyType : kInt8; };
    made.output_count = [](const OrtCustomOp*) -> size_t { return 1; };
    made.output_type = [](const OrtCustomOp*, size_t) -> int { return kInt8; };
    made.input_characteristic = [](const OrtCustomOp*, size_t) { return 0; };  // required
    made.output_characteristic = [](const OrtCustomOp*, size_t) { return 0; };
    made.input_memory = [](const OrtCustomOp*, size_t) { return 0; };  // the provider's own
    made.create_kernel = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
      return guarded(*api, [&] { *kernel = new ChannelLut(*api, info); });
    };
    made.compute = [](void* kernel, OrtKernelContext* context) {
      const auto& lut = *static_cast<const ChannelLut*>(kernel);
      return guarded(lut.api, [&] { lut.compute(context); });
    };
    made.destroy_kernel = [](void* kernel) { delete static_cast<ChannelLut*>(kernel); };
    return made;
  }();
  return op;
}
