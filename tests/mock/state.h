// The mock's state between calls: memory, streams, graphs and errors. One lock guards everything.
#pragma once
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "tests/mock/kernels.h"

namespace mock {

struct Allocation {
    size_t bytes;
    bool managed; // the host may access it too
};

struct Node {
    std::string kind, what;       // kernel, product, clear or copy; its name or its sizes
    std::optional<Launch> launch; // for a kernel
    std::function<void()> effect; // its effect on memory; none for most kernels
};

struct Stream;
struct Graph {
    int number, thread; // of the thread that captured it
    Stream* stream;
    std::vector<Node> nodes;
    std::set<const char*> uses; // allocations that its nodes were given pointers to
    bool invalid = false;       // a call was refused during its capture
    long replays = 0;
};

struct Stream {
    int thread; // the thread that made it; only that one may use it
    std::unique_ptr<Graph> captured;
    cudaStreamCaptureMode mode{};
};

struct Copied {
    long count = 0, bytes = 0;
};
struct Totals {
    int threads = 0, graphs = 0;
    long violations = 0, allocations = 0, launches = 0, replays = 0, synchronisations = 0, questions = 0;
    Copied in, out, within;
    size_t bytes = 0, most_bytes = 0; // of the device's memory
};

struct State {
    std::recursive_mutex mutex;
    std::map<const char*, Allocation> memory;
    std::set<Stream*> streams;
    std::set<Graph*> graphs; // executable ones
    std::set<void*> handles; // of cuBLAS
    uintptr_t next_place = uintptr_t{1} << 44;
    Totals totals;

    // The allocation that contains all of these bytes; end(): none.
    std::map<const char*, Allocation>::iterator around(const void* p, size_t bytes = 1);
};
State& state(); // locked by Call

int this_thread();         // from 1, in the order of their first calls
Stream*& capturing();      // of this thread; null: not capturing
cudaError_t& last_error(); // of this thread

// One call of the API: holds the lock, and knows its name for messages.
class Call {
public:
    explicit Call(const char* name) : name_(name), lock_(state().mutex) {}
    const char* name() const { return name_; }

    // Reports an error, counts it, and invalidates the current capture.
    template <class... T>
    cudaError_t refuse(cudaError_t error, fmt::format_string<T...> text, T&&... with) const {
        return refuse(error, fmt::format(text, std::forward<T>(with)...));
    }
    cudaError_t refuse(cudaError_t, const std::string&) const;

    // For calls that a thread must not make while it captures. cudaSuccess: it does not capture.
    cudaError_t outside_capture() const;
    // For calls that also wait for the whole device: none may be made while any thread captures. CUDA forbids that in a
    // capture of the global mode; in the other modes it would be legal, but slow (whole_device(), cuda/common.cuh).
    cudaError_t outside_all_captures() const;
    // For work on a stream: checks that the stream exists, is not the legacy one, belongs to this thread, and in a
    // capture is the captured one.
    cudaError_t may_use(Stream*) const;
    // Work on a stream that may be used: done now, or recorded.
    void put(Stream*, Node, const std::vector<const void*>& pointers) const;

private:
    const char* name_;
    std::lock_guard<std::recursive_mutex> lock_;
};

void print_graph(const Graph&); // report.cpp, if FCI_MOCK_GRAPHS is set
void print_line(const std::string&);
void report_at_exit();

} // namespace mock
