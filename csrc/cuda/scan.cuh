// The streaming pass: every belief once, a cheap test for nearly all of them, the reference score
// for the rest, in full warps.
#pragma once

#include "eligible.cuh"

namespace insight::cuda {

// Hands on the candidates at or above a threshold.
struct Sink {
  Standing threshold;
  Standing* survivors;
  int64_t capacity;
  unsigned long long* count;  // of all, those past the capacity too

  // All lanes of a warp call this together; a candidate comes from each for which `has`.
  __device__ void take(bool has, float score, int64_t index, uint64_t key) const {
    has = has && score >= score_of(threshold);
    Standing mine = kNobody;
    if (has) {
      mine = standing(score, tie_hash(key, index));
      has = mine >= threshold;
    }
    const int64_t place = claim(has, count);
    if (has && place < capacity) survivors[place] = mine;
  }
};

class Scan {
 public:
  // With `checks`, invalid beliefs are noted (those of listed candidates were noted before) and
  // eligible prompts counted.
  __device__ Scan(const Arguments& in, Scratch& scratch, Standing threshold, bool checks,
                  unsigned long long* count)
      : in_(in),
        scratch_(scratch),
        warp_(scratch.warps[threadIdx.x / kWarp]),
        sink_{threshold, in.memory.survivors, in.plan.capacity, count},
        least_(score_of(threshold)),
        repeats_(in.score.with_score<bool>(
            [](const auto& score) { return !std::decay_t<decltype(score)>::kPerIndex; })),
        checks_(checks),
        aligned_((reinterpret_cast<uintptr_t>(in.beliefs.alpha) |
                  reinterpret_cast<uintptr_t>(in.beliefs.beta)) % 16 == 0) {
    for (unsigned i = lane(); i < Tuning::kRemembered; i += kWarp) warp_.known[i] = {0, 0, 0};
    __syncwarp();
  }

  // All warps of the grid together visit all candidates.
  __device__ void visit_all() {
    const int64_t warp = thread_in_grid() / kWarp, warps = threads_in_grid() / kWarp;
    if (sink_.threshold > kLowest && !in_.memory.listed) {
      meet_cut();
      for (int64_t i = warp * kStep; i < in_.beliefs.size; i += warps * kStep) visit_step(i);
    } else {
      const int64_t count = candidate_count(in_);
      for (int64_t i = warp * kWarp; i < count; i += warps * kWarp) visit_row(i, count);
    }
    finish();
    if (checks_ && (in_.memory.listed || has_masks(in_))) {
      for (unsigned i = kWarp / 2; i; i /= 2) eligible_ += __shfl_xor_sync(kAllLanes, eligible_, i);
      if (lane() == 0) atomicAdd(&in_.memory.progress->eligible, eligible_);
    }
  }

  // Where every candidate needs its reference score, or they are listed, each lane takes one.
  __device__ void visit_row(int64_t first, int64_t count) {
    const int64_t place = first + lane();
    const bool has = place < count;
    const int64_t index = has ? candidate(in_, place) : 0;
    const float a = has ? in_.beliefs.alpha[index] : 1.0f, b = has ? in_.beliefs.beta[index] : 1.0f;
    if (!is_belief(a, b)) note_invalid(index);
    const bool open = has && is_open(in_, index), excluded = open && is_excluded(in_, index);
    eligible_ += open && !(excluded && in_.memory.listed);  // where not listed, mark_lists counted them
    meet(open && !excluded && is_belief(a, b), index, a, b);
  }

  // Scores what waits in all warps of the block, together: most have few, and scores are slow.
  __device__ void finish() {
    if (lane() == 0) scratch_.waiting[threadIdx.x / kWarp] = waiting_;
    waiting_ = 0;
    __syncthreads();
    unsigned place = threadIdx.x, warp = 0;  // each of them waits for fewer than a warp's lanes
    while (warp < kWarps && place >= scratch_.waiting[warp]) place -= scratch_.waiting[warp++];
    const bool has = warp < kWarps;
    if (!__any_sync(kAllLanes, has)) return;
    const Waiting mine = has ? scratch_.warps[warp].waiting[place] : Waiting{0, 1.0f, 1.0f};
    sink_.take(has, reference_score(in_.score, mine.a, mine.b, mine.index), mine.index, in_.key);
  }

 private:
  static constexpr int kLoads = Tuning::kLoads;
  static constexpr int64_t kStep = 4 * kWarp * kLoads;  // candidates a warp looks at together
  static constexpr unsigned kAllOpen = (1u << (4 * kLoads - 1) << 1) - 1u;  // of one lane

  // What is known of the cut. Where equal beliefs have equal scores, its belief's is the least.
  __device__ void meet_cut() {
    const Progress& progress = *in_.memory.progress;
    limit_ = progress.evidence_limit;
    if (!repeats_) return;
    cut_a_ = progress.cut_a;
    cut_b_ = progress.cut_b;
    if (lane() == 0) warp_.known[slot(cut_a_, cut_b_)] = {cut_a_, cut_b_, least_};
    __syncwarp();
  }

  // Where few are expected to need it, each lane takes four neighbours kLoads times.
  __device__ void visit_step(int64_t first) {
    const bool whole = first + kStep <= in_.beliefs.size;
    const unsigned open = whole && !has_masks(in_) ? kAllOpen : open_of_step(in_, first);
    eligible_ += __popc(open);
    float4 a[kLoads], b[kLoads];
    if (whole && aligned_) {
#pragma unroll
      for (int load = 0; load < kLoads; ++load) {
        const int64_t i = first + offset(4 * load);
        a[load] = *reinterpret_cast<const float4*>(in_.beliefs.alpha + i);
        b[load] = *reinterpret_cast<const float4*>(in_.beliefs.beta + i);
      }
    } else {
#pragma unroll
      for (int load = 0; load < kLoads; ++load) {
        a[load] = load_four(in_.beliefs.alpha, first + offset(4 * load));
        b[load] = load_four(in_.beliefs.beta, first + offset(4 * load));
      }
    }
    unsigned promising = 0;
    bool surely_beliefs = true;  // unless one's evidence is past float32
    for_each(a, b, [&](float x, float y, int i) {
      const float n = x + y;
      surely_beliefs &= (x > 0) & (y > 0) & (n < kUnbounded);
      promising |= static_cast<unsigned>(!(n > limit_)) << i;
    });
    if (!surely_beliefs) {
      for_each(a, b, [&](float x, float y, int i) {
        if (is_belief(x, y)) return;
        note_invalid(first + offset(i));
        promising &= ~(1u << i);
      });
    }
    promising &= open;
    if (!__any_sync(kAllLanes, promising)) return;
    promising &= ~behind_by_hash(a, b, first, promising);
    while (__any_sync(kAllLanes, promising)) {
      const int64_t index = first + offset(promising ? __ffs(static_cast<int>(promising)) - 1 : 0);
      const bool has = promising && !is_excluded(in_, index);
      promising &= promising - 1;
      // From the first-level cache: a run-time choice among the registers would spill them all. Read
      // again, it is checked again.
      const float x = has ? in_.beliefs.alpha[index] : 1.0f;
      const float y = has ? in_.beliefs.beta[index] : 1.0f;
      if (!is_belief(x, y)) note_invalid(index);
      meet(has && is_belief(x, y), index, x, y);
    }
  }

  // Which of this lane's candidates of a step are in the pool and kept out by no mask.
  __device__ __noinline__ static unsigned open_of_step(const Arguments& in, int64_t first) {
    unsigned open = 0;
    for (int i = 0; i < 4 * kLoads; ++i) {
      const int64_t index = first + offset(i);
      open |= static_cast<unsigned>(index < in.beliefs.size && is_open(in, index)) << i;
    }
    return open;
  }

  // Calls visit(alpha, beta, i) for this lane's candidates of a step.
  template <class Visit>
  __device__ static void for_each(const float4 (&a)[kLoads], const float4 (&b)[kLoads], Visit visit) {
#pragma unroll
    for (int load = 0; load < kLoads; ++load) {
      visit(a[load].x, b[load].x, 4 * load);
      visit(a[load].y, b[load].y, 4 * load + 1);
      visit(a[load].z, b[load].z, 4 * load + 2);
      visit(a[load].w, b[load].w, 4 * load + 3);
    }
  }

  // Those that equal the belief at the cut, so that the hash decides, and come after it. In a pool of
  // ties they are nearly all.
  __device__ unsigned behind_by_hash(const float4 (&a)[kLoads], const float4 (&b)[kLoads], int64_t first,
                                     unsigned promising) const {
    unsigned tied = 0;
    for_each(a, b, [&](float x, float y, int i) {
      tied |= static_cast<unsigned>((x == cut_a_) & (y == cut_b_)) << i;
    });
    if (!__any_sync(kAllLanes, tied & promising)) return 0;
    const uint64_t least = hash_of(sink_.threshold);
    unsigned behind = 0;
#pragma unroll
    for (int i = 0; i < 4 * kLoads; ++i) {
      behind |= static_cast<unsigned>(tie_hash(in_.key, first + offset(i)) < least) << i;
    }
    return tied & behind;
  }

  // The place, in a step, of this lane's candidate i.
  __device__ static int64_t offset(int i) { return i / 4 * (4 * kWarp) + 4 * lane() + i % 4; }

  // Four neighbours at the pool's end; past it a belief that nothing looks at.
  __device__ float4 load_four(const float* values, int64_t i) const {
    const int64_t left = in_.beliefs.size - i;
    return {left > 0 ? values[i] : 1.0f, left > 1 ? values[i + 1] : 1.0f,
            left > 2 ? values[i + 2] : 1.0f, left > 3 ? values[i + 3] : 1.0f};
  }

  __device__ void note_invalid(int64_t index) {
    if (checks_ && !in_.memory.listed) note_fault(in_.memory.progress->bad_belief, index);
  }

  // A candidate from each lane for which `has`.
  __device__ void meet(bool has, int64_t index, float a, float b) {
    bool known = false;
    if (repeats_) {
      const Known& memory = warp_.known[slot(a, b)];
      known = has && memory.a == a && memory.b == b;
      if (__any_sync(kAllLanes, known)) sink_.take(known, memory.score, index, in_.key);
    }
    const bool waits = has && !known && !(bound(in_.score, a, b) < least_);
    const unsigned all = __ballot_sync(kAllLanes, waits);
    if (waits) {
      warp_.waiting[waiting_ + __popc(all & ((1u << lane()) - 1u))] = {index, a, b};
    }
    waiting_ += __popc(all);
    if (waiting_ >= kWarp) score_waiting();
  }

  // Scores the last warp's share and hands it on.
  __device__ void score_waiting() {
    waiting_ -= kWarp;
    __syncwarp();
    const Waiting mine = warp_.waiting[waiting_ + lane()];
    const float score = reference_score(in_.score, mine.a, mine.b, mine.index);
    sink_.take(true, score, mine.index, in_.key);
    if (repeats_) {
      // One lane writes each slot: the first of those that want it.
      const unsigned wanted = slot(mine.a, mine.b);
      const unsigned same = __match_any_sync(kAllLanes, wanted);
      if (!(same & ((1u << lane()) - 1u))) warp_.known[wanted] = {mine.a, mine.b, score};
    }
    __syncwarp();
  }

  // Beliefs repeat (all unseen prompts share the prior, and counts are small integers), so the
  // latest scores are remembered.
  __device__ static unsigned slot(float a, float b) {
    const uint32_t word = bit_cast<uint32_t>(a) * 0x9e3779b1u ^ bit_cast<uint32_t>(b) * 0x85ebca6bu;
    return ((word ^ word >> 15) * 0xc2b2ae35u >> 16) % Tuning::kRemembered;
  }

  const Arguments& in_;
  Scratch& scratch_;
  WarpScratch& warp_;
  const Sink sink_;
  const float least_;
  const bool repeats_;  // equal beliefs have equal scores
  const bool checks_;
  const bool aligned_;  // to 16 bytes
  float cut_a_ = 0, cut_b_ = 0;  // the belief at the cut; no belief, if none is known
  float limit_ = kUnbounded;     // candidates with more evidence come after the cut
  unsigned waiting_ = 0;
  unsigned long long eligible_ = 0;
};

}  // namespace insight::cuda
