// Requant: y = clip(round((x * mult + bias) / 2**shift), lo, hi), parameters along one axis.

#include <limits>
#include <memory>

#include "custom_op.h"
#include "isa.h"
#include "ops.h"
#include "parallel.h"

namespace {

constexpr int64_t kMostShift = 31;
constexpr int64_t kLeastPeriod = 256;  // elements that the loop over parameters takes at once, at least
constexpr int64_t kShortRun = 32;      // elements with the same parameters that are worth a loop of their own

// One element's parameters as the loops want them, in the type that the sums fit. x is clipped to least..most, where
// the result is clipped anyway; `odd` adds the last bit kept, so that ties go to the even integer.
template <typename T>
struct Step {
  T least, most, mult, bias, round, odd, shift;
};

template <typename T, typename X>
PSAFLOW_INLINE int8_t requant(X x, const Step<T>& p, T lo, T hi) {
  T v = x;
  if (sizeof(T) < sizeof(int64_t)) {
    v = v < p.least ? p.least : v;
    v = v > p.most ? p.most : v;
  }
  const T scaled = v * p.mult + p.bias;
  T y = (scaled + p.round + ((scaled >> p.shift) & p.odd)) >> p.shift;
  y = y < lo ? lo : y;
  return static_cast<int8_t>(y > hi ? hi : y);
}

// Steps for one period of the elements, a field after the other.
template <typename T>
struct Steps {
  explicit Steps(size_t size)
      : least(size), most(size), mult(size), bias(size), round(size), odd(size), shift(size) {}
  void set(size_t i, const Step<T>& p) {
    least[i] = p.least, most[i] = p.most, mult[i] = p.mult, bias[i] = p.bias;
    round[i] = p.round, odd[i] = p.odd, shift[i] = p.shift;
  }
  Step<T> get(size_t i) const { return {least[i], most[i], mult[i], bias[i], round[i], odd[i], shift[i]}; }

  std::vector<T> least, most, mult, bias, round, odd, shift;
};

// All elements have the same parameters.
template <typename T, typename X>
struct Same {
  static PSAFLOW_INLINE void run(const X* __restrict x, int64_t count, const Step<T>* step, T lo, T hi,
                                 int8_t* __restrict y) {
    const Step<T> p = *step;
    for (int64_t i = 0; i < count; ++i) y[i] = requant(x[i], p, lo, hi);
  }
};

// Element i has the parameters of position i.
template <typename T, typename X>
struct Along {
  static PSAFLOW_INLINE void run(const X* __restrict x, int64_t count, const Steps<T>* steps, T lo, T hi,
                                 int8_t* __restrict y) {
    const T *least = steps->least.data(), *most = steps->most.data(), *mult = steps->mult.data();
    const T *bias = steps->bias.data(), *round = steps->round.data(), *odd = steps->odd.data();
    const T* shift = steps->shift.data();
    for (int64_t i = 0; i < count; ++i) {
      const Step<T> p{least[i], most[i], mult[i], bias[i], round[i], odd[i], shift[i]};
      y[i] = requant(x[i], p, lo, hi);
    }
  }
};

struct Parameters {
  Tensor mult, bias, shift;

  bool valid() const {  // apart from sizes
    for (const Tensor* tensor : {&mult, &bias, &shift}) {
      if (tensor->type != kInt32 || tensor->dims.size() > 1) return false;
    }
    return shifts_fit();
  }
  bool shifts_fit() const {
    for (int64_t i = 0; i < shift.size(); ++i) {
      if (shift.as<int32_t>()[i] < 0 || shift.as<int32_t>()[i] > kMostShift) return false;
    }
    return true;
  }
  int64_t count() const { return std::max({mult.size(), bias.size(), shift.size()}); }

  // Of position i along the axis, for any x of type X: exact in 64 bits.
  template <typename X>
  Step<int64_t> step(int64_t i, const Limits& limits, bool half_up) const {
    const auto at = [i](const Tensor& tensor) -> int64_t { return tensor.as<int32_t>()[tensor.size() == 1 ? 0 : i]; };
    const int64_t m = at(mult), b = at(bias), s = at(shift);
    const int64_t half = s ? int64_t{1} << (s - 1) : 0;
    Step<int64_t> p{0, 0, m, b, half, 0, s};
    if (s && !half_up) p.round = half - 1, p.odd = 1;
    if (m == 0) return p;
    // where the quotient reaches lo and hi, rounded away from the range between
    const auto below = [](int64_t a, int64_t d) { return a / d - (a % d != 0 && (a < 0) != (d < 0)); };
    const int64_t at_lo = limits.lo * (int64_t{1} << s) - b, at_hi = limits.hi * (int64_t{1} << s) - b;
    const int64_t first = m > 0 ? below(at_lo, m) : below(at_hi, m);
    const int64_t last = m > 0 ? -below(-at_hi, m) : -below(-at_lo, m);
    const int64_t least_x = std::numeric_limits<X>::min(), most_x = std::numeric_limits<X>::max();
    p.least = std::min(std::max(first, least_x), most_x);
    p.most = std::min(std::max(last, least_x), most_x);
    return p;
  }
};

bool fits_32_bits(const Step<int64_t>& p) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;  // leaves room for `round` and `odd`
  const auto fits = [](int64_t v) { return -kMost <= v && v <= kMost; };
  return fits(p.least * p.mult) && fits(p.most * p.mult) && fits(p.least * p.mult + p.bias) &&
         fits(p.most * p.mult + p.bias);
}

// The parameters for x of type X, each repeated `repeat` times, all of it as often as makes a long loop.
template <typename X>
struct Plan {
  Plan(const Parameters& parameters, int64_t repeat, const Limits& limits, bool half_up)
      : count(parameters.count() * repeat) {
    const int64_t times = count > 1 ? (kLeastPeriod + count - 1) / count : 1;
    period = count * times;
    std::vector<Step<int64_t>> steps;
    for (int64_t i = 0; i < count; ++i) steps.push_back(parameters.step<X>(i / repeat, limits, half_up));
    bool fit = true;
    for (const auto& step : steps) fit = fit && fits_32_bits(step);
    const auto size = static_cast<size_t>(period);
    if (fit) {
      narrow = std::make_unique<Steps<int32_t>>(size);
      for (size_t i = 0; i < size; ++i) {
        const auto& p = steps[i % steps.size()];
        const auto cut = [](int64_t v) { return static_cast<int32_t>(v); };
        narrow->set(i, {cut(p.least), cut(p.most), cut(p.mult), cut(p.bias), cut(p.round), cut(p.odd), cut(p.shift)});
      }
    } else {
      wide = std::make_unique<Steps<int64_t>>(size);
      for (size_t i = 0; i < size; ++i) wide->set(i, steps[i % steps.size()]);
    }
  }

  int64_t count, period;
  std::unique_ptr<Steps<int32_t>> narrow;  // where the sums of every position fit
  std::unique_ptr<Steps<int64_t>> wide;    // else
};

class Requant {
 public:
  static constexpr const char* kName = "Requant";
  static constexpr int kInputs[] = {kAnyType, kInt32, kInt32, kInt32}, kOutput = kInt8;

  Requant(const OrtApi& api, const OrtKernelInfo* info)
      : node_(api, info, kName, {"x", "mult", "bias", "shift"}),
        isa_(chosen_isa()),
        axis_(node_.integer("axis", -1)),
        limits_(node_.limits()),
        half_up_(node_.half_up()) {
    if (axis_ < -4 || axis_ > -1) {
      node_.refuse("axis=" + std::to_string(axis_) + " must be -1, -2, -3 or -4 (from the end)");
    }
    Parameters p;
    if (node_.constant(1, &p.mult) && node_.constant(2, &p.bias) && node_.constant(3, &p.shift) && p.valid() &&
        same_sizes(p)) {  // what is not is refused with x's shape, by compute
      for_int8_ = std::make_unique<Plan<int8_t>>(p, 1, limits_, half_up_);
      for_int32_ = std::make_unique<Plan<int32_t>>(p, 1, limits_, half_up_);
    }
  }

  const OrtApi& api() const { return node_.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    const Parameters p{input(api(), context, 1), input(api(), context, 2), input(api(), context, 3)};
    check_tensors(x, p);
    auto* y = static_cast<int8_t*>(output(api(), context, 0, x.dims));
    if (x.size() == 0) return;
    if (x.type == kInt8) {
      run<int8_t>(context, x, p, for_int8_.get(), y);
    } else {
      run<int32_t>(context, x, p, for_int32_.get(), y);
    }
  }

 private:
  static bool same_sizes(const Parameters& p) {
    const int64_t count = p.count();
    for (const Tensor* tensor : {&p.mult, &p.bias, &p.shift}) {
      if (tensor->size() != 1 && tensor->size() != count) return false;
    }
    return true;
  }

  void check_tensors(const Tensor& x, const Parameters& p) const {
    const auto refuse = [&](const std::string& reason) { node_.refuse({&x, &p.mult, &p.bias, &p.shift}, reason); };
    if (x.type != kInt8 && x.type != kInt32) refuse("x must be int8 or int32");
    if (static_cast<int64_t>(x.dims.size()) < -axis_) {
      refuse("x must have at least " + std::to_string(-axis_) + " dimensions for axis=" + std::to_string(axis_));
    }
    const int64_t along = x.dims[x.dims.size() - static_cast<size_t>(-axis_)];
    for (const Tensor* tensor : {&p.mult, &p.bias, &p.shift}) {
      if (tensor->type != kInt32) refuse("mult, bias and shift must be int32");
      if (tensor->dims.size() > 1 || (tensor->size() != 1 && tensor->size() != along)) {
        refuse("mult, bias and shift must have 1 element or x's " + std::to_string(along) + " along axis " +
               std::to_string(axis_));
      }
    }
    if (!p.shifts_fit()) refuse("shift must be in 0..31");
  }

  template <typename X>
  void run(OrtKernelContext* context, const Tensor& x, const Parameters& p, const Plan<X>* prepared, int8_t* y) const {
    const size_t axis = x.dims.size() - static_cast<size_t>(-axis_);
    const int64_t inner = p.count() == 1 ? 1 : x.product(axis + 1, x.dims.size());
    const int64_t repeat = inner < kShortRun ? inner : 1;  // short runs of the same parameters become positions
    std::unique_ptr<Plan<X>> made;
    if (prepared == nullptr || repeat > 1) {
      made = std::make_unique<Plan<X>>(p, repeat, limits_, half_up_);
      prepared = made.get();
    }
    if (prepared->narrow) {
      run_steps<X>(context, x, *prepared, *prepared->narrow, inner / repeat, y);
    } else {
      run_steps<X>(context, x, *prepared, *prepared->wide, inner / repeat, y);
    }
  }

  // inner: the run of elements of one position
  template <typename X, typename T>
  void run_steps(OrtKernelContext* context, const Tensor& tensor, const Plan<X>& plan, const Steps<T>& steps,
                 int64_t inner, int8_t* y) const {
    const X* x = tensor.as<X>();
    const auto lo = static_cast<T>(limits_.lo), hi = static_cast<T>(limits_.hi);
    const int64_t size = tensor.size();
    const double cost = isa_ == Isa::kPortable || sizeof(T) > sizeof(int32_t) ? 1.0 : 0.2;  // nanoseconds an element
    if (plan.count == 1) {
      const Step<T> step = steps.get(0);
      return parallel_rows(api(), context, size, cost, 64, [&](int64_t begin, int64_t end) {
        run_on<Same<T, X>>(isa_, x + begin, end - begin, &step, lo, hi, y + begin);
      });
    }
    if (inner > 1) {
      const double of_run = cost * static_cast<double>(inner);
      return parallel_rows(api(), context, size / inner, of_run, 1, [&](int64_t begin, int64_t end) {
        for (int64_t run = begin; run < end; ++run) {
          const Step<T> step = steps.get(static_cast<size_t>(run % plan.count));
          run_on<Same<T, X>>(isa_, x + run * inner, inner, &step, lo, hi, y + run * inner);
        }
      });
    }
    const int64_t period = plan.period, periods = (size + period - 1) / period;
    parallel_rows(api(), context, periods, cost * static_cast<double>(period), 1, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * period; at < std::min(end * period, size); at += period) {
        run_on<Along<T, X>>(isa_, x + at, std::min(period, size - at), &steps, lo, hi, y + at);
      }
    });
  }

  Node node_;
  Isa isa_;
  int64_t axis_;
  Limits limits_;
  bool half_up_;
  std::unique_ptr<const Plan<int8_t>> for_int8_;  // where the parameters are constants
  std::unique_ptr<const Plan<int32_t>> for_int32_;
};

}  // namespace

const OrtCustomOp& requant_op() { return custom_op<Requant>(); }
