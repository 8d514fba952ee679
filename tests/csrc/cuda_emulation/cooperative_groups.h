// See cuda_runtime.h.
#pragma once

#include "cuda_runtime.h"

namespace cooperative_groups {

struct grid_group {
  void sync() const {
    emulation::Block& block = emulation::block();
    block.wait_for_block(&emulation::kGrid, [&] { block.grid().everybody.arrive_and_wait(); });
  }
};

inline grid_group this_grid() { return {}; }

}  // namespace cooperative_groups
