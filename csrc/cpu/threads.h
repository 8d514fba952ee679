#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
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

// Whether the work of a call is to end: asked of the caller by its own thread alone, and seldom.
class Stop {
 public:
  explicit Stop(bool (*wanted)()) : wanted_(wanted) {}

  // Any thread, before each share of the work.
  bool is_wanted() {
    if (wanted_ && std::this_thread::get_id() == caller_) ask();
    return found_.load(std::memory_order_relaxed);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void ask() {
    const Clock::time_point now = Clock::now();
    if (now - asked_ < std::chrono::milliseconds(100)) return;
    asked_ = now;
    if (wanted_()) found_.store(true, std::memory_order_relaxed);
  }

  bool (*const wanted_)();
  const std::thread::id caller_ = std::this_thread::get_id();
  Clock::time_point asked_ = Clock::now();
  std::atomic<bool> found_{false};
};

}  // namespace insight::cpu
