// The training step around the ops: the batch, the counting of hits, the sums for the log, AdamW. One pass each; sums
// in a fixed order.
#include <memory>

#include "core/half.h"
#include "cuda/softmax.cuh"
#include "train/gpu.h"

namespace fci::cuda {
namespace {

constexpr int slice = 1024; // elements whose squares one block adds
constexpr int threads = 256, root_threads = 128;

// The sequence that is number i of the batch.
struct OfStep {
    const GpuStep* step;
    int64_t per_epoch;
    __device__ int64_t operator()(const GpuSequences& from, int batch, int i) const {
        return from.order[step->next % per_epoch * batch + i];
    }
};
struct OfTest {
    const GpuTest* test;
    __device__ int64_t operator()(const GpuSequences& from, int, int i) const {
        return min(test->first + i, int64_t{from.count} - 1);
    }
};

// One block per sequence.
template <class Place>
__global__ void gather_kernel(GpuSequences from, Place place_of, GpuBatch to) {
    const int i = blockIdx.x;
    const int64_t at = place_of(from, to.batch, i);
    for (int j = threadIdx.x; j < from.length; j += blockDim.x)
        to.tokens[int64_t{i} * from.length + j] = from.tokens[at * from.length + j];
    for (int j = threadIdx.x; j < from.queries; j += blockDim.x) {
        const int64_t source = at * from.queries + j, target = int64_t{i} * from.queries + j;
        to.query[target] = from.query[source];
        if (from.label) to.label[target] = from.label[source];
        if (from.answer) to.place[target] = from.answer[source] / from.place_length;
    }
}

// A sequence's features are `parts` blocks' work.
template <class Place>
__global__ void gather_features_kernel(GpuSequences from, Place place_of, GpuBatch to, int parts) {
    const int i = static_cast<int>(blockIdx.x) / parts, part = static_cast<int>(blockIdx.x) % parts;
    const int64_t n = int64_t{from.length} * from.width, source = place_of(from, to.batch, i) * n, target = i * n;
    const auto* halves = static_cast<const uint16_t*>(from.features);
    const auto* floats = static_cast<const float*>(from.features);
    for (int64_t j = int64_t{part} * threads + threadIdx.x; j < n; j += int64_t{parts} * threads)
        to.features[target + j] = from.half ? half_to_float(halves[source + j]) : floats[source + j];
}

// With several correct positions a query: writes their places without repeats, query after query. One block. One thread
// per query counts; a prefix sum of the counts then tells each thread where to write.
template <class Place>
__global__ void gather_right_kernel(GpuSequences from, Place place_of, GpuBatch to) {
    FCI_SHARED(int, ends, threads);
    const int queries = to.batch * from.queries, thread = threadIdx.x;
    int before = 0; // places of earlier rounds' queries
    for (int q0 = 0; q0 < queries; q0 += threads) {
        const int q = q0 + thread, i = q / from.queries;
        int64_t source = 0;
        if (q < queries) source = place_of(from, to.batch, i) * from.queries + q % from.queries;
        const auto each_place = [&](auto f) {
            int last = -1;
            for (int r = from.begin[source]; q < queries && r < from.begin[source + 1]; ++r) {
                const int place = from.correct[r] / from.place_length;
                if (place != last) f(last = place);
            }
        };
        int count = 0;
        each_place([&](int) { ++count; });
        __syncthreads(); // the previous round's ends have been read
        ends[thread] = count;
        for (int reach = 1; reach < threads; reach *= 2) { // sums up to this thread [Hillis & Steele 1986]
            __syncthreads();
            const int other = thread >= reach ? ends[thread - reach] : 0;
            __syncthreads();
            ends[thread] += other;
        }
        __syncthreads();
        int filled = before + ends[thread] - count;
        if (q < queries) to.bounds[q] = filled;
        each_place([&](int place) { to.place[filled++] = place; });
        before += ends[threads - 1];
    }
    if (thread == 0) to.bounds[queries] = before;
}

// For one query, by a warp: the highest logit, ties to the lower index.
__device__ void count_query(const GpuCount& c, int q) {
    const int lane = threadIdx.x % 32;
    float most = 0;
    int best = c.classes;
    bool finite = true;
    for (int i = lane; c.scores && i < c.places; i += 32) finite &= isfinite(c.scores[int64_t{q} * c.places + i]);
    for (int i = lane; i < c.classes; i += 32) {
        const float z = c.logits[int64_t{q} * c.classes + i];
        finite &= isfinite(z);
        if (best == c.classes || z > most) most = z, best = i;
    }
    for (int offset = 16; offset; offset /= 2) {
        const float z = __shfl_xor_sync(all_lanes, most, offset);
        const int i = __shfl_xor_sync(all_lanes, best, offset);
        if (i < c.classes && (best == c.classes || z > most || (z == most && i < best))) most = z, best = i;
    }
    finite = !__any_sync(all_lanes, !finite);
    if (lane) return;
    int at_1 = 0, found = 0, wanted = 0;
    if (c.chosen) {
        const int32_t* chosen = c.chosen + int64_t{q} * 2 * c.k;
        const int begin = c.bounds ? c.bounds[q] : q, end = c.bounds ? c.bounds[q + 1] : q + 1;
        for (int r = begin; r < end; ++r) {
            bool is_chosen = false;
            for (int i = 0; i < c.k; ++i) is_chosen |= chosen[i] == c.place[r];
            ++wanted, found += is_chosen, at_1 |= chosen[0] == c.place[r];
        }
    }
    c.hits[q] = found > 0;
    c.hits[c.queries + q] = at_1;
    c.hits[2 * c.queries + q] = c.label && best == c.label[q];
    c.hits[3 * c.queries + q] = c.chosen && found == wanted;
    c.hits[4 * c.queries + q] = !finite;
}

// One warp per query.
__global__ void count_kernel(GpuCount c) {
    const int q = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (q < c.queries) count_query(c, q);
}

// cross_entropy of a row, with its loss and derivative, by a block; equations: ops/cross_entropy.h.
__device__ void root_row(int classes, const float* z, int target, float dloss, float* loss, float* dz, float* partial) {
    const auto l = block_log_sum_exp<root_threads>(classes, z, partial);    // (1)
    if (threadIdx.x == 0) *loss = l.minus(LogSum<float>::of(z[target], 0)); // (2)
    for (int i = threadIdx.x; i < classes; i += root_threads)
        dz[i] = dloss * (exp(l.share(z[i])) - (i == target ? 1.f : 0.f)); // (dz)
}

// One block per query.
__global__ void roots_kernel(GpuCount c, GpuRoots r) {
    FCI_SHARED(float, partial, 32);
    const int q = blockIdx.x;
    const int64_t logits = int64_t{q} * c.classes, scores = int64_t{q} * c.places;
    root_row(c.classes, c.logits + logits, c.label[q], r.answer_weight, r.answer + q, r.dlogits + logits, partial);
    root_row(c.places, c.scores + scores, c.place[q], r.routing_weight * *r.routing_factor, r.routing + q,
             r.dscores + scores, partial);
    if (threadIdx.x < 32) count_query(c, q);
}

// The sum over a block, by halving; thread 0 gets it.
template <class T>
__device__ T add_up(T v, T* shared) {
    __syncthreads();
    shared[threadIdx.x] = v;
    for (int half = threads / 2; half; half /= 2) {
        __syncthreads();
        if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return threadIdx.x ? T{} : shared[0];
}

// The sum of hits[kind] over the batch's queries 0 to n-1, by a block; thread 0 gets it.
__device__ int sum_of_hits(const GpuCount& c, int kind, int n, int* shared) {
    int sum = 0;
    for (int i = threadIdx.x; i < n; i += threads) sum += c.hits[kind * c.queries + i];
    return add_up(sum, shared);
}

// One block.
__global__ void tally_kernel(GpuSequences of, GpuCount c, int batch, GpuTest* test) {
    FCI_SHARED(int, counted, threads);
    const int n = static_cast<int>(min(of.count - test->first, int64_t{batch})) * of.queries;
    int sum[5];
    for (int kind = 0; kind < 5; ++kind) sum[kind] = sum_of_hits(c, kind, n, &counted[0]);
    if (threadIdx.x) return;
    test->at_k += sum[0], test->at_1 += sum[1], test->correct += sum[2], test->all += sum[3];
    test->not_finite += sum[4];
    test->first += batch;
}

__global__ void squares_kernel(GpuUpdate u, double* partial) {
    FCI_SHARED(double, shared, threads);
    const int64_t begin = int64_t{blockIdx.x} * slice, end = begin + slice < u.size ? begin + slice : u.size;
    double sum = 0;
    for (int64_t j = begin + threadIdx.x; j < end; j += threads)
        if (!u.frozen || !u.frozen[j]) sum += static_cast<double>(u.grad[j]) * u.grad[j];
    sum = add_up(sum, &shared[0]);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block. Computes everything that the log shows of a step, and whether the update may be applied.
__global__ void judge_kernel(GpuUpdate u, GpuLosses losses, GpuCount c, GpuStep* step, GpuLog* log, int log_size,
                             const double* partial, int partials) {
    FCI_SHARED(double, shared, threads);
    FCI_SHARED(int, counted, threads);
    const auto sum_of = [&](const float* x) {
        double sum = 0;
        for (int i = threadIdx.x; x && i < c.queries; i += threads) sum += x[i];
        return add_up(sum, &shared[0]);
    };
    const auto hits = [&](int kind) { return sum_of_hits(c, kind, c.queries, &counted[0]); };
    GpuLog seen{};
    seen.answer_loss = sum_of(losses.answer);
    for (int r = 0; r < losses.rounds; ++r) seen.routing_loss += sum_of(losses.routing[r]) / losses.rounds;
    double squares = 0;
    for (int i = threadIdx.x; i < partials; i += threads) squares += partial[i];
    seen.grad_norm = sqrt(add_up(squares, &shared[0]));
    seen.at_k = hits(0), seen.at_1 = hits(1), seen.correct = hits(2), seen.all = hits(3);
    if (threadIdx.x || step->stopped) return;
    log[step->next % log_size] = seen;
    if (!isfinite(seen.answer_loss + seen.routing_loss) || !isfinite(seen.grad_norm)) {
        step->stopped = 1;
        return;
    }
    const double factor = u.clip / (seen.grad_norm + 1e-6);
    step->factor = static_cast<float>(u.clip > 0 && factor < 1 ? factor : 1);
    step->row = step->next++;
}

__global__ void adamw_kernel(GpuUpdate u, const GpuStep* step) {
    const int64_t j = int64_t{blockIdx.x} * threads + threadIdx.x;
    if (j >= u.size) return;
    const float g = u.grad[j];
    u.grad[j] = 0;
    if (step->stopped || (u.frozen && u.frozen[j])) return;
    adamw_update(u.schedule[step->row], g * step->factor, u.parameters[j], u.m[j], u.v[j]);
}

template <class Place>
void gather(GpuSequences from, Place place_of, GpuBatch to) {
    FCI_LAUNCH((gather_kernel<Place>), static_cast<unsigned>(to.batch), threads, 0, from, place_of, to);
    if (from.features) {
        const int parts = static_cast<int>(blocks_for(int64_t{from.length} * from.width, 16 * threads));
        FCI_LAUNCH((gather_features_kernel<Place>), static_cast<unsigned>(to.batch) * parts, threads, 0, from, place_of,
                   to, parts);
    }
    if (!from.answer) FCI_LAUNCH((gather_right_kernel<Place>), 1, threads, 0, from, place_of, to);
}

} // namespace

void gather_batch(GpuSequences from, const GpuStep* step, int64_t per_epoch, GpuBatch to) {
    gather(from, OfStep{step, per_epoch}, to);
}
void gather_batch(GpuSequences from, const GpuTest* test, GpuBatch to) { gather(from, OfTest{test}, to); }

void count_hits(GpuCount c) { FCI_LAUNCH(count_kernel, blocks_for(c.queries, threads / 32), threads, 0, c); }

void losses_and_hits(GpuCount c, GpuRoots r) {
    if (c.queries) FCI_LAUNCH(roots_kernel, static_cast<unsigned>(c.queries), root_threads, 0, c, r);
}

void finish_test_batch(GpuSequences of, GpuCount c, int batch, GpuTest* test) {
    FCI_LAUNCH(tally_kernel, 1, threads, 0, of, c, batch, test);
}

void finish_step(GpuUpdate u, GpuLosses losses, GpuCount c, GpuStep* step, GpuLog* log, int log_size) {
    const int partials = static_cast<int>(blocks_for(u.size, slice));
    Scratch scratch;
    double* partial = reinterpret_cast<double*>(scratch.floats(size_t{2} * partials));
    FCI_LAUNCH(squares_kernel, static_cast<unsigned>(partials), threads, 0, u, partial);
    FCI_LAUNCH(judge_kernel, 1, threads, 0, u, losses, c, step, log, log_size, partial, partials);
    FCI_LAUNCH(adamw_kernel, blocks_for(u.size, threads), threads, 0, u, step);
}

#if defined(FCI_EMULATOR)

void* capture(void (*work)(void*), void* with) {
    const std::lock_guard alone(whole_device());
    auto graph = std::make_unique<emulator::Graph>();
    struct Capturing {
        ~Capturing() { emulator::capturing = nullptr; }
    } until_end;
    emulator::capturing = graph.get();
    work(with);
    return graph.release();
}
void replay(void* graph) {
    for (const auto& work : *static_cast<emulator::Graph*>(graph)) work();
}
void drop(void* graph) { delete static_cast<emulator::Graph*>(graph); }

#else

void* capture(void (*work)(void*), void* with) {
    const std::lock_guard alone(whole_device());
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    expect(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "capturing a step");
    try {
        work(with);
    } catch (...) { // the stream, which this thread's next run uses, must not stay in capture
        cudaStreamEndCapture(stream(), &graph);
        if (graph) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    expect(cudaStreamEndCapture(stream(), &graph), "capturing a step");
    const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    expect(made, "making a graph of the step");
    return executable;
}
void replay(void* graph) { expect(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream()), "replaying a step"); }
void drop(void* graph) {
    const std::lock_guard alone(whole_device());
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

#endif

} // namespace fci::cuda
