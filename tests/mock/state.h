// What the mock remembers between calls: memory, streams, graphs and what was done wrong. One lock holds for all.
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
    bool managed; // the host may touch it, too
};

struct Node {
    std::string kind, what;       // kernel, product, clear or copy; its name or its sizes
    std::optional<Launch> launch; // of a kernel
    std::function<void()> effect; // what it does to memory: most kernels nothing
};

struct Stream;
struct Graph {
    int number, thread; // of the thread that captured it
    Stream* stream;
    std::vector<Node> nodes;
    std::set<const char*> uses; // allocations that its nodes were given pointers to
    bool invalid = false;       // something was refused while it was captured
    long replays = 0;
};

struct Stream {
    int thread; // the one that made it, and alone may use it
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

    // The allocation that holds all of these bytes; end(): none does.
    std::map<const char*, Allocation>::iterator around(const void* p, size_t bytes = 1);
};
State& state(); // locked by Call

int this_thread();         // from 1, in the order of their first calls
Stream*& capturing();      // of this thread; null: it does not capture
cudaError_t& last_error(); // of this thread

// One call of the API: what holds the lock, and knows the name for messages.
class Call {
public:
    explicit Call(const char* name) : name_(name), lock_(state().mutex) {}
    const char* name() const { return name_; }

    // Says what is wrong, counts it, spoils the capture under way.
    template <class... T>
    cudaError_t refuse(cudaError_t error, fmt::format_string<T...> text, T&&... with) const {
        return refuse(error, fmt::format(text, std::forward<T>(with)...));
    }
    cudaError_t refuse(cudaError_t, const std::string&) const;

    // Of calls that a thread must not make while it captures. cudaSuccess: it does not.
    cudaError_t outside_capture() const;
    // Of calls that wait for the whole device besides: none may be made while any thread captures. CUDA forbids that
    // in a capture of the global mode; in the others it would be legal, and slow (whole_device(), cuda/common.cuh).
    cudaError_t outside_all_captures() const;
    // Of work on a stream: it is there, it is not the legacy one, it is this thread's, and in a capture the captured
    // one.
    cudaError_t may_use(Stream*) const;
    // On a stream that may be used: done now, or recorded.
    void put(Stream*, Node, const std::vector<const void*>& pointers) const;

private:
    const char* name_;
    std::lock_guard<std::recursive_mutex> lock_;
};

void print_graph(const Graph&); // report.cpp, where FCI_MOCK_GRAPHS asks for it
void print_line(const std::string&);
void report_at_exit();

} // namespace mock
