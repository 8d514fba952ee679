#pragma once

#include <exception>
#include <thread>
#include <vector>

namespace insight::cpu {

// Calls work(0) ... work(count - 1), each on a thread of its own, the first on the caller's.
// Threads are started for the call: 20 microseconds, and nothing that a fork could leave broken.
template <class Work>
void on_threads(int count, Work work) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(count));
  const auto guarded = [&](int i) {
    try {
      work(i);
    } catch (...) {
      failures[static_cast<size_t>(i)] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < count; ++i) threads.emplace_back(guarded, i);
  guarded(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace insight::cpu
