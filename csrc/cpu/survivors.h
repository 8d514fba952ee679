// The best candidates met so far, by one thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../order.h"

namespace insight::cpu {

class Survivors {
 public:
  // Keeps the k best of what is added; `capacity` > k says how many may pile up before the rest
  // is dropped. `repeats` tells that one prompt may be added more than once and counts once.
  Survivors(int64_t k, int64_t capacity, bool repeats)
      : k_(static_cast<size_t>(k)), capacity_(static_cast<size_t>(capacity)), repeats_(repeats) {}

  // True when so many have piled up that the caller should `shrink`.
  bool add(const Ranked& candidate) {
    // Field by field: copied as a whole right after it was made, it waits for its own fields.
    Ranked& kept = items_.emplace_back();
    kept.score = candidate.score;
    kept.hash = candidate.hash;
    kept.index = candidate.index;
    return items_.size() >= capacity_;
  }

  // Drops all but the k best. True if there are k, and then worst() is the last of them.
  bool shrink() {
    if (repeats_) {
      std::sort(items_.begin(), items_.end(), Before{});
      const auto same = [](const Ranked& x, const Ranked& y) { return x.index == y.index; };
      items_.erase(std::unique(items_.begin(), items_.end(), same), items_.end());
      if (items_.size() > k_) items_.resize(k_);
    } else if (items_.size() > k_) {
      std::nth_element(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(k_ - 1),
                       items_.end(), Before{});
      items_.resize(k_);
    }
    if (items_.size() < k_) return false;
    worst_ = repeats_ ? items_.back() : *std::max_element(items_.begin(), items_.end(), Before{});
    return true;
  }

  const Ranked& worst() const { return worst_; }
  std::vector<Ranked>& items() { return items_; }

 private:
  size_t k_, capacity_;
  bool repeats_;
  std::vector<Ranked> items_;
  Ranked worst_{};
};

}  // namespace insight::cpu
