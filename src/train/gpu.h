// The parts of a training step on the GPU that are no ops; the kernels are in cuda/step.cu. Everything is work on the
// calling thread's stream, and all that changes from step to step lies on the device: the step's number, its place in
// the order of the epoch, its learning rate; in a test the batch's place and the counts so far. So a step, and a batch
// of a test, can be captured once and replayed, and the host reads only the log and the counts. Pointers are the
// device's.
#pragma once
#include <cstdint>

#include "train/adamw.h"

namespace fci {

struct GpuStep {  // step state on the device, advanced by finish_step
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
    int64_t not_finite;               // queries whose scores or logits have a NaN or Inf
};

// Sequences on the device, and the order in which an epoch takes them.
struct GpuSequences {
    const int32_t *tokens, *query, *label; // (count,length) (count,queries) (count,queries) or null
    const int32_t* answer;                 // (count,queries); null where several positions are correct:
    const int32_t *begin, *correct;        // those of query i of all are correct[begin[i]] to correct[begin[i+1]]
    const int32_t* order;                  // (count)
    int count, length, queries, place_length;
    const void* features = nullptr; // (count,length,width) of a backbone, fp16 or float; null: not here
    bool half = false;
    int width = 0;
};

// A batch, gathered: see Batch in train/losses.h.
struct GpuBatch {
    int32_t *tokens, *query, *label, *place, *bounds;
    int batch;
    float* features = nullptr; // null without a backbone; set by the gather if the sequences' are on the device
};

struct GpuUpdate {
    int64_t size;                     // of each of the flat blocks
    float *parameters, *grad, *m, *v; // grad: zero again afterwards
    const uint8_t* frozen;            // 1: frozen, and not counted in the norm; may be null
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
    int32_t* hits;                 // (5,queries): at_k, at_1, correct, all, not finite
    const float* scores = nullptr; // (queries,places), looked at for numbers that are not finite; may be null
    int places = 0;
};

// Both losses of a query as roots of the tape, at once with what counts as a hit: what is minimised is answer_weight
// times the sum of the one, and routing_weight x *routing_factor times that of the other.
struct GpuRoots {
    float answer_weight, routing_weight;
    const float* routing_factor; // on the device
    float *answer, *routing;     // (queries), set
    float *dlogits, *dscores;    // (queries,classes) (queries,places), set: nothing else may have added to them
};

namespace cuda {

// The batch of step `next`, with `per_epoch` steps in an epoch; or that of a test, padded with its last sequence.
[[gnu::weak]] void gather_batch(GpuSequences, const GpuStep*, int64_t per_epoch, GpuBatch);
[[gnu::weak]] void gather_batch(GpuSequences, const GpuTest*, GpuBatch);
[[gnu::weak]] void count_hits(GpuCount);
// The same, and the losses: one correct place and one label a query, scores of one round.
[[gnu::weak]] void losses_and_hits(GpuCount, GpuRoots);
// Adds the batch's hits, padding left out, to those of the test, and moves it on by a batch.
[[gnu::weak]] void finish_test_batch(GpuSequences, GpuCount, int batch, GpuTest*);
// The batch's sums into log[next % log_size], then AdamW with clipping, and next moves on: unless a loss or the norm
// is not finite.
[[gnu::weak]] void finish_step(GpuUpdate, GpuLosses, GpuCount, GpuStep* step, GpuLog* log, int log_size);

// Calls work(with), of which the sums over rows (gradients of biases and of norms) are made in its end, all at once:
// what they are of must not change until then.
[[gnu::weak]] void with_sums_together(void (*work)(void*), void* with);

// Records what work(with) launches as a graph, without doing it.
[[gnu::weak]] void* capture(void (*work)(void*), void* with);
[[gnu::weak]] void replay(void* graph);
[[gnu::weak]] void drop(void* graph);

} // namespace cuda
} // namespace fci
