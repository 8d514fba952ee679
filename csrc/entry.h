// How a function of insight.h ends: nothing is thrown through it, and whatever is wrong is told in a
// sentence, the same one for every language.
#pragma once

#include "back_end.h"

namespace insight {

// An outcome, and insight_message for it.
Outcome told(const Outcome& outcome, const char* message);

// Tells what a pass over the request's data has found. `back_end` reads what the message quotes.
Outcome explained(const Outcome& outcome, const Request& request, const BackEnd& back_end,
                  const Place& place);

template <class Call>
Outcome guarded(const Call& call) noexcept {
  try {
    return call();
  } catch (const ArgumentError& error) {
    return told({INSIGHT_BAD_ARGUMENT, 0}, error.what());
  } catch (const DeviceError& error) {
    return told({INSIGHT_BAD_DEVICE, 0}, error.what());
  } catch (const std::exception& error) {  // of the standard library, which allocates
    return told({INSIGHT_NO_MEMORY, 0}, error.what());
  }
}

}  // namespace insight
