// ChannelLUT: y[..., c] = table[c, x[..., c] - lowest], from a full table or by interpolating between knots; one row for
// each channel, or one for all.

#include <cstring>
#include <memory>

#include "channel_lut_simd.h"
#include "custom_op.h"
#include "ops.h"
#include "parallel.h"
#include "rounding.h"

namespace {

constexpr int64_t kCodes = 256;
constexpr int64_t kLanes = 16;  // channels that the vector paths take at once, at least

// table int8 [width] of knots every 2**bits codes -> full int8 [256]; bits = 0: a copy
void expand(const int8_t* table, int bits, bool half_up, int8_t* full) {
  for (int index = 0; index < kCodes; ++index) {
    const int left = table[index >> bits];
    const int fraction = index & ((1 << bits) - 1);
    const int64_t part = bits ? shift_right((table[(index >> bits) + 1] - left) * fraction, bits, half_up) : 0;
    full[index] = static_cast<int8_t>(left + part);
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

// A table as the loops want it: full, indexed by the code's byte, and where there are few channels, repeated for
// several rows, which are then taken as one.
struct Prepared {
  Prepared(const Tensor& table, bool is_signed, bool half_up)
      : rows(table.dims[0] < kLanes && table.dims[0] > 0 ? (kLanes + table.dims[0] - 1) / table.dims[0] : 1),
        channels(table.dims[0] * rows),
        entries(static_cast<size_t>(channels * kCodes)) {
    const int64_t width = table.dims[1];
    const int bits = interpolated_bits(width);
    int8_t full[kCodes];
    for (int64_t c = 0; c < channels; ++c) {
      expand(table.as<int8_t>() + c % table.dims[0] * width, bits, half_up, full);
      int8_t* to = entries.data() + c * kCodes;
      const int64_t first = is_signed ? kCodes / 2 : 0;  // the byte of code 0 is 0, that of -128 is 128
      std::memcpy(to, full + first, static_cast<size_t>(kCodes - first));
      std::memcpy(to + kCodes - first, full, static_cast<size_t>(first));
    }
  }

  int64_t rows;      // of x that make a row here
  int64_t channels;  // of such a row
  std::vector<int8_t> entries;
};

void portable_rows(const uint8_t* x, const int8_t* entries, int64_t rows, int64_t channels, int8_t* y) {
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* of_channel = entries;
    for (int64_t c = 0; c < channels; ++c, of_channel += kCodes) *y++ = of_channel[*x++];
  }
}

void lut_rows(Isa isa, const uint8_t* x, const int8_t* entries, int64_t rows, int64_t channels, int8_t* y) {
#if PSAFLOW_X86
  // a vector tile of fewer rows would be mostly padding
  if (channels >= kLanes && isa == Isa::kAvx512 && rows >= 12) return avx512::lut_rows(x, entries, rows, channels, y);
  if (channels >= kLanes && isa >= Isa::kAvx2 && rows >= 12) return avx2::lut_rows(x, entries, rows, channels, y);
#endif
  (void)isa;
  portable_rows(x, entries, rows, channels, y);
}

class ChannelLut {
 public:
  static constexpr const char* kName = "ChannelLUT";
  static constexpr int kInputs[] = {kAnyType, kInt8}, kOutput = kInt8;

  ChannelLut(const OrtApi& api, const OrtKernelInfo* info)
      : node_(api, info, kName, {"x", "table"}),
        isa_(chosen_isa()),
        half_up_(node_.half_up()),
        lowest_(node_.integer("lowest", -128)) {
    if (lowest_ != -128 && lowest_ != 0) {
      node_.refuse("lowest=" + std::to_string(lowest_) + " must be -128 for int8, 0 for uint8");
    }
    Tensor table;
    if (node_.constant(1, &table) && is_table(table)) {  // what is no table is refused with x's shape, by compute
      prepared_ = std::make_unique<Prepared>(table, lowest_ == -128, half_up_);
    }
  }

  const OrtApi& api() const { return node_.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0), table = input(api(), context, 1);
    check_tensors(x, table);
    auto* y = static_cast<int8_t*>(output(api(), context, 0, x.dims));
    if (x.size() == 0) return;
    if (prepared_) return run(context, x, *prepared_, y);
    run(context, x, Prepared(table, lowest_ == -128, half_up_), y);  // a computed table: prepared for this call
  }

 private:
  static bool is_table(const Tensor& table) {
    return table.type == kInt8 && table.dims.size() == 2 && interpolated_bits(table.dims[1]) >= 0;
  }

  void check_tensors(const Tensor& x, const Tensor& table) const {
    const auto refuse = [&](const std::string& reason) { node_.refuse({&x, &table}, reason); };
    if (x.type != kInt8 && x.type != kUint8) refuse("x must be int8 or uint8");
    if (lowest_ != (x.type == kInt8 ? -128 : 0)) {
      refuse("lowest=" + std::to_string(lowest_) + " must be -128 for int8, 0 for uint8");
    }
    if (table.type != kInt8) refuse("table must be int8");
    if (x.dims.empty() || table.dims.size() != 2) refuse("x must be [.., channels], table [channels, entries]");
    if (table.dims[0] != x.dims.back() && table.dims[0] != 1) refuse("table must have one row for each of x's channels, or one for all");
    if (!is_table(table)) refuse("table must have 256 entries, or 129, 65, 33, 17, 9, 5 or 3 knots");
  }

  void run(OrtKernelContext* context, const Tensor& x, const Prepared& table, int8_t* y) const {
    const int64_t wide = table.channels, rows = x.size() / wide;
    const auto* codes = x.as<uint8_t>();
    const int8_t* entries = table.entries.data();
    const double cost = static_cast<double>(wide) * (isa_ == Isa::kPortable ? 0.6 : isa_ == Isa::kAvx2 ? 0.2 : 0.05);
    parallel_rows(api(), context, rows, cost, 64, [=](int64_t begin, int64_t end) {
      lut_rows(isa_, codes + begin * wide, entries, end - begin, wide, y + begin * wide);
    });
    portable_rows(codes + rows * wide, entries, 1, x.size() - rows * wide, y + rows * wide);  // rows left over
  }

  Node node_;
  Isa isa_;
  bool half_up_;
  int64_t lowest_;
  std::unique_ptr<const Prepared> prepared_;  // where the table is a constant
};

}  // namespace

const OrtCustomOp& channel_lut_op() { return custom_op<ChannelLut>(); }
