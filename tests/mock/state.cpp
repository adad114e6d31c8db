#include "tests/mock/state.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace mock {

State& state() {
    static auto& all = *[] {
        std::atexit(report_at_exit);
        return new State; // never destroyed: threads release resources late
    }();
    return all;
}

int this_thread() {
    static thread_local const int number = ++state().totals.threads;
    return number;
}
Stream*& capturing() {
    static thread_local Stream* stream = nullptr;
    return stream;
}
cudaError_t& last_error() {
    static thread_local cudaError_t error = cudaSuccess;
    return error;
}

std::map<const char*, Allocation>::iterator State::around(const void* p, size_t bytes) {
    const char* begin = static_cast<const char*>(p);
    auto at = memory.upper_bound(begin);
    if (at == memory.begin()) return memory.end();
    --at;
    return begin + bytes <= at->first + at->second.bytes ? at : memory.end();
}

cudaError_t Call::refuse(cudaError_t error, const std::string& text) const {
    fmt::print(stderr, "mock of CUDA: violation, thread {}: {}: {}\n", this_thread(), name_, text);
    ++state().totals.violations;
    if (Stream* s = capturing()) s->captured->invalid = true;
    return last_error() = error;
}

cudaError_t Call::outside_capture() const {
    if (!capturing()) return cudaSuccess;
    return refuse(cudaErrorStreamCaptureUnsupported, "while this thread captures");
}

cudaError_t Call::outside_all_captures() const {
    if (const cudaError_t error = outside_capture(); error != cudaSuccess) return error;
    for (const Stream* s : state().streams) {
        if (!s->captured) continue;
        if (s->mode == cudaStreamCaptureModeGlobal)
            return refuse(cudaErrorStreamCaptureUnsupported, "while thread {} captures, in the global mode", s->thread);
        return refuse(cudaSuccess, "while thread {} captures: it waits for the whole device", s->thread);
    }
    return cudaSuccess;
}

cudaError_t Call::may_use(Stream* s) const {
    if (!s) {
        for (const Stream* other : state().streams)
            if (other->captured && (other == capturing() || other->mode == cudaStreamCaptureModeGlobal))
                return refuse(cudaErrorStreamCaptureImplicit, "on the legacy stream, in a capture");
        return refuse(cudaSuccess, "on the legacy stream, which waits for all others");
    }
    if (!state().streams.contains(s)) return refuse(cudaErrorInvalidResourceHandle, "on a stream that is not there");
    if (s->thread != this_thread())
        return refuse(cudaErrorInvalidResourceHandle, "on the stream of thread {}", s->thread);
    if (capturing() && capturing() != s)
        return refuse(cudaErrorStreamCaptureIsolation, "on another stream than the one that is captured");
    return cudaSuccess;
}

void Call::put(Stream* s, Node node, const std::vector<const void*>& pointers) const {
    if (!s || !s->captured) {
        if (node.effect) node.effect();
        return;
    }
    for (const void* p : pointers)
        if (const auto at = state().around(p); at != state().memory.end()) s->captured->uses.insert(at->first);
    s->captured->nodes.push_back(std::move(node));
}

} // namespace mock
