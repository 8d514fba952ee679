#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace insight::cpu {

// Calls work() on `count` threads at once, or on fewer: the caller's own, and as many others as
// the system grants. So each call takes its share of the work from a counter of the caller's until
// nothing is left. Threads are started for the call: 20 microseconds, and nothing that a fork could
// leave broken.
template <class Work>
void on_threads(int64_t count, const Work& work) {
  constexpr int64_t kMost = 256;
  const size_t wanted = static_cast<size_t>(std::clamp<int64_t>(count, 1, kMost));
  std::vector<std::exception_ptr> failures(wanted);
  const auto guarded = [&](size_t i) noexcept {
    try {
      work();
    } catch (...) {
      failures[i] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(wanted - 1);
  try {
    for (size_t i = 1; i < wanted; ++i) threads.emplace_back(guarded, i);
  } catch (const std::system_error&) {  // no more threads are to be had,
  } catch (const std::bad_alloc&) {     // or no memory for them: these and the caller's will do
  }
  guarded(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace insight::cpu
