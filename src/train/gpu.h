// What a training step needs on the GPU besides the ops; the kernels are in cuda/step.cu. Everything is work on the
// calling thread's stream, and all that changes from step to step lies on the device: the step's number, its place in
// the order of the epoch, its learning rate; in a test the batch's place and the counts so far. So a step, and a batch
// of a test, can be captured once and replayed, and the host reads only the log and the counts. Pointers are the
// device's.
#pragma once
#include <cstdint>

#include "train/adamw.h"

namespace fci {

struct GpuStep {  // one, on the device: what moves on by itself
    int64_t next; // the step to come, from 0
    int64_t row;  // of the schedule, for the update under way
    float factor; // of its clipping
    int stopped;  // a loss or gradient was not finite: nothing is updated from that step on
};

struct GpuLog { // what a step showed
    double answer_loss, routing_loss, grad_norm;
    int32_t at_k, at_1, correct, all;
};

struct GpuTest {                      // of a test, on the device; 0 at its start
    int64_t first;                    // sequence of the batch to come
    int64_t at_k, at_1, correct, all; // so far
};

// Sequences on the device, and the order in which an epoch takes them.
struct GpuSequences {
    const int32_t *tokens, *query, *label; // (count,length) (count,queries) (count,queries) or null
    const int32_t* answer;                 // (count,queries); null where several positions are correct:
    const int32_t *begin, *correct;        // those of query i of all are correct[begin[i]] to correct[begin[i+1]]
    const int32_t* order;                  // (count)
    int count, length, queries, place_length;
};

// A batch, gathered: see Batch in train/losses.h.
struct GpuBatch {
    int32_t *tokens, *query, *label, *place, *bounds;
    int batch;
};

struct GpuUpdate {
    int64_t size;                     // of each of the flat blocks
    float *parameters, *grad, *m, *v; // grad: zero again afterwards
    const uint8_t* frozen;            // 1: stays as it is, and counts not in the norm; may be null
    double clip;                      // 0: none
    const AdamWRates* schedule;       // a row a step
};

constexpr int most_rounds = 3;
struct GpuLosses {                              // one number a query
    const float *answer, *routing[most_rounds]; // any may be null; of the routing losses the mean counts
    int rounds;
};

struct GpuCount {
    int queries, k, classes;
    const int32_t *chosen, *place, *bounds, *label; // chosen, bounds, label: may be null
    const float* logits;
    int32_t* hits; // (4,queries): at_k, at_1, correct, all
};

namespace cuda {

// The batch of step `next`, an epoch being `per_epoch` steps; or that of a test, which the last sequence fills up.
[[gnu::weak]] void gather_batch(GpuSequences, const GpuStep*, int64_t per_epoch, GpuBatch);
[[gnu::weak]] void gather_batch(GpuSequences, const GpuTest*, GpuBatch);
[[gnu::weak]] void count_hits(GpuCount);
// Adds the batch's hits, without what only fills it up, to those of the test, which goes on by a batch.
[[gnu::weak]] void finish_test_batch(GpuSequences, GpuCount, int batch, GpuTest*);
// The batch's sums into log[next % log_size], then AdamW with clipping, and next moves on: unless a loss or the norm
// is not finite.
[[gnu::weak]] void finish_step(GpuUpdate, GpuLosses, GpuCount, GpuStep* step, GpuLog* log, int log_size);

// Records what work(with) launches as a graph, without doing it.
[[gnu::weak]] void* capture(void (*work)(void*), void* with);
[[gnu::weak]] void replay(void* graph);
[[gnu::weak]] void drop(void* graph);

} // namespace cuda
} // namespace fci
