// Work split over the threads of onnxruntime's session, by rows.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "tensor.h"

constexpr double kLeastTask = 10000;  // nanoseconds: what is shorter is done before another thread has woken up

// Calls rows(begin, end) for ranges that cover 0..count once, in parallel where each range takes long enough.
// cost: of one row on one thread, in nanoseconds, about. align: ranges start at multiples of it, so that vectors
// are filled. What `rows` throws, for want of memory, is thrown here once all ranges are done.
template <typename Rows>
void parallel_rows(const OrtApi& api, const OrtKernelContext* context, int64_t count, double cost, int64_t align,
                   const Rows& rows) {
  if (count <= 0) return;
  // The pool's size is not to be had from a kernel; ranges in excess of it are taken one after the other.
  static const int64_t most = 2 * std::max<int64_t>(1, std::thread::hardware_concurrency());
  const double wanted = static_cast<double>(count) * cost / kLeastTask;
  const int64_t tasks = wanted < static_cast<double>(most) ? static_cast<int64_t>(wanted) : most;
  if (tasks <= 1) return rows(int64_t{0}, count);
  struct Range {
    const Rows& rows;
    int64_t count, step;
    std::atomic_flag failed;
    std::exception_ptr error;  // the first one
  } range{rows, count, ((count + tasks - 1) / tasks + align - 1) / align * align, ATOMIC_FLAG_INIT, nullptr};
  const auto run = [](void* data, size_t index) {
    Range& r = *static_cast<Range*>(data);
    const int64_t begin = static_cast<int64_t>(index) * r.step;
    try {
      r.rows(begin, std::min(begin + r.step, r.count));
    } catch (...) {  // none may leave a thread that is not ours
      if (!r.failed.test_and_set()) r.error = std::current_exception();
    }
  };
  const auto total = static_cast<size_t>((count + range.step - 1) / range.step);
  check(api, api.parallel_for(context, run, total, 0, &range), "threads");
  if (range.error) std::rethrow_exception(range.error);
}
