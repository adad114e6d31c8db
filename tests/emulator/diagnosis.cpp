// Describes errors of a launch, and of threads that meet at barriers and shuffles. See machine.h.
#include "tests/emulator/machine.h"

namespace emulator {

using fci::Exit, fci::fail;

bool same(const Site& a, const Site& b) {
    const auto equal = [](const char* x, const char* y) { return x == y || std::strcmp(x, y) == 0; };
    return a.line == b.line && equal(a.call, b.call) && equal(a.file, b.file);
}
std::string text(const Site& s) { return fmt::format("{} ({}:{})", s.call, s.file, s.line); }
std::string text(const uint3& i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }
std::string text(const Thread& t) {
    return fmt::format("thread {} [warp {} lane {}]", text(t.index), t.number / 32, t.number % 32);
}

namespace {

std::string where(const Thread& t) {
    return t.state == State::exited ? "has exited" : t.state == State::ready ? "runs" : "waits at " + text(t.site);
}

} // namespace

void Machine::check_limits() const {
    const uint64_t threads = uint64_t(block.x) * block.y * block.z;
    if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > most_threads || block.y > most_threads ||
        block.z > 64 || threads > most_threads)
        fail(Exit::internal, "{}: a block of ({},{},{}) threads; 1 to {} can be launched, at most 64 in z", kernel,
             block.x, block.y, block.z, most_threads);
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        fail(Exit::internal, "{}: a grid of ({},{},{}) blocks; each must be at least 1, x < 2^31, y and z < 65536",
             kernel, grid.x, grid.y, grid.z);
    if (dynamic_bytes_ > shared_limit)
        fail(Exit::internal, "{}: {} bytes of dynamic shared memory; a block can have {}", kernel, dynamic_bytes_,
             shared_limit.load());
}

// What blocks the progress of a block; "" if all threads wait at one barrier.
std::string Machine::diagnose() {
    const Thread *at_barrier = nullptr, *exited = nullptr;
    for (unsigned i = 0; i < size_; ++i) {
        Thread& t = threads_[i];
        if (t.state == State::exited && !exited) exited = &t;
        if (t.state == State::at_barrier && !at_barrier) at_barrier = &t;
        if (t.state != State::in_warp) continue;
        for (unsigned lane = 0; lane < 32; ++lane) {
            const Thread& other = threads_[t.number / 32 * 32 + lane];
            if (!(t.meeting->mask >> lane & 1) || (other.state == State::in_warp && other.meeting == t.meeting))
                continue;
            running = &t;
            const std::string mask =
                other.state == State::in_warp ? fmt::format(" with mask {:#010x}", other.meeting->mask) : "";
            return fmt::format("deadlock: {} {} with mask {:#010x} for lane {}, which never arrives: it {}{}", text(t),
                               where(t), t.meeting->mask, lane, where(other), mask);
        }
    }
    running = const_cast<Thread*>(at_barrier);
    if (exited)
        return fmt::format("{} has exited while {} {}: a barrier is for all", text(*exited), text(*running),
                           where(*running));
    for (unsigned i = 0; i < size_; ++i)
        if (!same(threads_[i].site, at_barrier->site))
            return fmt::format("threads of one block wait at different barriers: {} {}, {} {}", text(*at_barrier),
                               where(*at_barrier), text(threads_[i]), where(threads_[i]));
    return "";
}

void Machine::print() const {
    if (!kernel) return;
    fmt::print(stderr, "{}: block {} of ({},{},{})\n", kernel, text(block_index), grid.x, grid.y, grid.z);
    for (unsigned i = 0; i < size_; ++i)
        fmt::print(stderr, "  {} {}{}\n", text(threads_[i]), where(threads_[i]), &threads_[i] == running ? " <-" : "");
}

} // namespace emulator
