// The arithmetic that the scores' bits rest on, whatever the caller's thread is set to.
#pragma once

#include <cfenv>

namespace insight::cpu {

// For its lifetime the thread, and every thread that it starts, rounds to nearest, keeps denormal
// numbers and raises no signal; then the caller's own settings are back. (torch.set_flush_denormal
// would make an invalid belief of a denormal one, and a trap would end the process.)
class IeeeArithmetic {
 public:
  IeeeArithmetic() {
    std::fegetenv(&callers_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~IeeeArithmetic() { std::fesetenv(&callers_); }
  IeeeArithmetic(const IeeeArithmetic&) = delete;
  IeeeArithmetic& operator=(const IeeeArithmetic&) = delete;

 private:
  std::fenv_t callers_;
};

}  // namespace insight::cpu
