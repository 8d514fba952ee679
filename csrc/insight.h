/* The interface of the library: what is asked (insight_request), where it is done (insight_place) and
 * where the answer goes (insight_result). C, so that any language can call it.
 *
 * Start each struct from zeros, which are the defaults, and set its `bytes` to its size:
 *
 *     insight_request request = {sizeof request};
 *
 * Nothing here throws, ends the process or keeps what it was given, insight_index_new apart. Every
 * argument is checked before anything is read or written. Functions may be called by any thread.
 * Results do not depend on the place: same request, same bits. docs/kernel.md says what is computed.
 */
#ifndef INSIGHT_H
#define INSIGHT_H

#include <stdbool.h>
#include <stdint.h>

#if defined(_WIN32)
#define INSIGHT_API
#else
#define INSIGHT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The scores, and the parameters that each reads. */
enum insight_score_kind {
  INSIGHT_WEIGHTED_INFORMATION,       /* rollouts 1 to 512, eta 0 to 1e6, mu 0 to 1 */
  INSIGHT_WEIGHT_ALONE,               /* the same three */
  INSIGHT_INFORMATION_ALONE,          /* the same three */
  INSIGHT_DRAWN_WEIGHT_INFORMATION,   /* the same three; draws by seed and draw */
  INSIGHT_THOMPSON,                   /* target 0 to 1; draws by seed and draw */
  INSIGHT_EXPECTED_DIFFICULTY,        /* target 0 to 1 */
  INSIGHT_INVERSE_EVIDENCE,           /* none */
  INSIGHT_MIXED_GROUP,                /* rollouts 1 to 512 */
  INSIGHT_SCORE_KINDS                 /* how many there are */
};

enum { INSIGHT_MOST_PARAMETERS = 6 };

typedef struct {
  int64_t kind;
  int64_t parameter_count; /* exactly as many as the score reads */
  double parameters[INSIGHT_MOST_PARAMETERS];
  uint64_t seed, draw; /* of the scores that draw at random */
} insight_score;

/* N beliefs Beta(alpha[i], beta[i]), a whole pool or the part of one that begins at `first`: belief i
 * is that of prompt first + i, under which name it is hashed, drawn for and selected. */
typedef struct {
  const float* alpha;
  const float* beta;
  int64_t size, first;
} insight_beliefs;

enum insight_subset_form {
  INSIGHT_ABSENT, /* all candidates, no exclusions */
  INSIGHT_LIST,   /* int64_t places of beliefs, in any order; repeats count once */
  INSIGHT_MASK    /* a bool for each belief */
};

typedef struct {
  int64_t form;
  const void* data;
  int64_t size; /* elements */
} insight_subset;

typedef struct {
  uint64_t bytes;
  insight_score score;
  insight_beliefs beliefs;
  insight_subset candidates, exclude;
  int64_t k;     /* how many prompts to select; 0 where only scores are wanted */
  uint64_t seed; /* of the tie hash */
  bool sorted;   /* best first; by ascending prompt if not */
} insight_request;

/* A number of a back end's inner working, by name; tests force them. An unknown name is refused. */
typedef struct {
  const char* name;
  int64_t value;
} insight_setting;

/* Whose memory holds the beliefs, the subsets and the result, and what does the work. */
typedef struct {
  uint64_t bytes;
  const char* device;          /* "cpu", "cuda": see insight_back_end; null: "cpu" */
  int64_t index;               /* of the device among those of its kind */
  void* stream;                /* a cudaStream_t */
  int64_t threads;             /* of the CPU, at most so many; 0: as many as it runs at once */
  const char* instruction_set; /* of the CPU: see insight_instruction_set; null: its best */
  const insight_setting* tuning;
  int64_t tuning_size;
  /* Whether the call is to end before its time: asked by the thread that called, ten times a second
   * or less, in a scoring or selection on the CPU. Null: it is not. */
  bool (*is_stopped)(void);
} insight_place;

enum insight_code {
  INSIGHT_DONE,
  INSIGHT_BAD_BELIEF,       /* where: the smallest i whose belief is not finite and positive */
  INSIGHT_BAD_CANDIDATE,    /* where: the first position in candidates that is outside the pool */
  INSIGHT_BAD_EXCLUSION,    /* where: the first position in exclude that is outside the pool */
  INSIGHT_TOO_FEW_ELIGIBLE, /* where: how many prompts are eligible */
  INSIGHT_BAD_SCORE,        /* where: the first position among scores to be merged that is NaN */
  INSIGHT_CHANGED,          /* the beliefs changed meanwhile; where: how many prompts were found */
  INSIGHT_BAD_ARGUMENT,     /* outside its domain */
  INSIGHT_BAD_DEVICE,       /* missing, or it failed */
  INSIGHT_STOPPED,          /* at the wish of the place's is_stopped */
  INSIGHT_NO_MEMORY
};

/* How a call ended. Nothing was selected unless it is INSIGHT_DONE. */
typedef struct {
  int64_t code, where;
} insight_outcome;

typedef struct {
  uint64_t bytes;
  int64_t* indices; /* of k prompts */
  float* scores;    /* theirs, or of all beliefs */
  /* Null: the call waits until the result is there. Otherwise a device is not waited for, so that its
   * calls can be captured in a graph: the outcome is left in this memory of its own, and if it is
   * not INSIGHT_DONE, all indices are -1 and all scores NaN. */
  insight_outcome* outcome;
  void* workspace; /* aligned to 16 bytes */
  int64_t workspace_bytes;
} insight_result;

/* What the latest call of this thread found that did not end in INSIGHT_DONE: what was expected, what
 * came and where, in one line. Valid until the next call. */
INSIGHT_API const char* insight_message(void);

/* Scores every belief: float32 of the reference score. */
INSIGHT_API insight_outcome insight_score_all(const insight_request*, const insight_place*,
                                              const insight_result*);

/* Selects the k first eligible prompts in THE order: score descending, then a hash of (seed, prompt)
 * descending, then prompt ascending. */
INSIGHT_API insight_outcome insight_select_top_k(const insight_request*, const insight_place*,
                                                 const insight_result*);

/* How large a workspace either call needs; 0 on the CPU. */
INSIGHT_API insight_outcome insight_workspace_bytes(const insight_request*, const insight_place*,
                                                    int64_t* bytes);

/* The k first of `count` prompts that selections from the parts of a pool found, on the CPU. Of the
 * request k, seed and sorted count. */
INSIGHT_API insight_outcome insight_merge_top_k(const insight_request*, const int64_t* indices,
                                                const float* scores, int64_t count,
                                                const insight_result*);

/* `count` distinct integers in [0, size), every set equally likely, in no particular order. */
INSIGHT_API insight_outcome insight_draw_distinct(int64_t size, int64_t count, uint64_t seed,
                                                  uint64_t draw, int64_t* drawn);

/* On the CPU, over a pool of which little changes between two selections: answers as the full pass
 * in time that hardly grows with the pool. The request's beliefs are the caller's: they must outlive
 * the index, and change only as update is told. Its score draws nothing at random. Until rebuild
 * has succeeded once, and again after it failed, a selection begins with it. */
typedef struct insight_index insight_index;
INSIGHT_API insight_outcome insight_index_new(const insight_request*, const insight_place*,
                                              insight_index**);
INSIGHT_API void insight_index_free(insight_index*);
INSIGHT_API insight_outcome insight_index_rebuild(insight_index*);
INSIGHT_API insight_outcome insight_index_update(insight_index*, const insight_subset* changed);
INSIGHT_API insight_outcome insight_index_select(insight_index*, int64_t k, bool sorted,
                                                 const insight_subset* exclude,
                                                 const insight_result*);
INSIGHT_API int64_t insight_index_visited(const insight_index*); /* beliefs, by the last selection */

/* The names of what this library and this processor offer, by number from 0; null past the last. */
INSIGHT_API const char* insight_back_end(int64_t number);
INSIGHT_API const char* insight_instruction_set(int64_t number);

/* Finds the place's device and writes its name, cut to `size` with its ending zero. */
INSIGHT_API insight_outcome insight_device_name(const insight_place*, char* name, int64_t size);

#ifdef __cplusplus
}
#endif
#endif
