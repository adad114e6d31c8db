// Runs CUDA threads: the state of one host thread's launches. emulator.cpp schedules them, diagnosis.cpp describes
// errors.
//
// Under ThreadSanitizer the runtime is not instrumented, and its work for a CUDA thread must not call instrumented
// code: not memset or malloc, and only containers of its own types, or the linker might pick an instrumented copy.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "core/check.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/fiber.h"
#include "tests/emulator/shared_memory.h"

namespace emulator {

constexpr size_t most_threads = 1024;
extern std::atomic<size_t> shared_limit;

enum class State : uint8_t { ready, at_barrier, in_warp, exited };

// Lanes of one warp at one *_sync. At most 32 are in use, since a lane is in one at a time.
struct Meeting {
    unsigned mask = 0;
    Site site;
    int missing = 0, inside = 0; // lanes yet to arrive; lanes that arrived and have not left
    char tag = 0;
};
struct Warp {
    Meeting meetings[32];
};

struct Thread {
    Fiber fiber;
    uint3 index{};
    unsigned number = 0;
    State state = State::ready;
    Site site;
    Meeting* meeting = nullptr;
    uint64_t value = 0, result = 0; // given to the meeting, received from it
    int source = -1;                // the lane whose value is wanted
};

struct Handle { // ThreadSanitizer's handle of a CUDA thread
    void* thread;
};
struct Turn {
    unsigned number;
};

bool same(const Site&, const Site&);
std::string text(const Site&);
std::string text(const uint3&);
std::string text(const Thread&);

// The state that a host thread keeps between launches: stacks and shared memory are mapped once.
class Machine {
public:
    Machine() : threads_(new Thread[most_threads]), warps_(new Warp[most_threads / 32]) {}
    ~Machine();

    void launch(const char* kernel, dim3 grid, dim3 block, size_t dynamic_bytes);

    // called by the code of a CUDA thread
    void barrier(Site);
    // work: done once all lanes are there, on their values; null: values are exchanged.
    uint64_t meet(unsigned mask, uint64_t value, int source, Site, bool orders_memory,
                  void (*work)(const uint64_t* values) = nullptr);
    void* shared(const void* key, size_t bytes, Site name);
    void* dynamic(Site name);
    [[noreturn]] void refuse_launch(const char* name);

    const char* kernel = nullptr; // null: no launch
    dim3 grid, block;
    uint3 block_index{};
    Thread* running = nullptr;
    void (*body)(const void*) = nullptr;
    const void* with = nullptr;

    void print() const;

private:
    static void enter();
    void run_block();
    bool take_turns();
    void resume(Thread&);
    void open_barrier();
    void end_block();
    void end_launch();
    void arrange(std::vector<Turn>& turns, size_t n);
    void check_limits() const;
    std::string diagnose();
    void refuse(const std::string& what); // for the running thread, which must then stop(), with no string left to free
    [[noreturn]] void stop();
    void set_failure(const std::string& what);
    void wait();

    std::unique_ptr<Thread[]> threads_;
    std::unique_ptr<Warp[]> warps_;
    std::vector<Turn> turns_, block_turns_;
    SharedMemory shared_;
    size_t static_bytes_ = 0, dynamic_bytes_ = 0;
    std::vector<Handle> used_, spare_; // in this launch, and for the next
    unsigned size_ = 0, exited_ = 0;   // threads of the block
    unsigned openings_ = 0;            // of the block's barrier
    char start_tag_ = 0, barrier_tag_[2] = {}, end_tag_ = 0;
    uint64_t random_ = 0;
    std::string failure_;
};

} // namespace emulator
