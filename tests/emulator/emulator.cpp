// The emulator's scheduler: runs the blocks of a launch one after another, and the threads of a block in turns from
// one meeting (barrier, shuffle, vote) to the next. A thread that waits is suspended; when no thread can run, either
// all wait at one barrier, which opens, or the kernel is wrong and diagnose() says how. See README.md.
#include "tests/emulator/emulator.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "core/check.h"
#include "tests/emulator/fiber.h"
#include "tests/emulator/sanitizers.h"

// Under ThreadSanitizer this file is not instrumented, and what it does for a CUDA thread must not call what is: not
// memset or malloc, and of containers only those of types of this file, or the linker might take an instrumented twin.
namespace emulator {
namespace {

using fci::Error, fci::Exit, fci::fail;

constexpr size_t most_threads = 1024, most_arrays = 32, redzone = 256, arena_bytes = 1 << 20;

std::atomic<int> order = 0;
std::atomic<size_t> shared_limit = 227 << 10;
constinit thread_local Counters counted;

enum class State : uint8_t { ready, at_barrier, in_warp, exited };

// Lanes of one warp at one *_sync. At most 32 of them are in use, since a lane is in one at a time.
struct Meeting {
    unsigned mask = 0;
    Site site;
    int missing = 0, inside = 0; // lanes yet to come; lanes that came and have not gone on
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
    uint64_t value = 0, result = 0; // given to the meeting, got from it
    int source = -1;                // the lane whose value is wanted
};

struct SharedArray {
    const void* key;
    Site name;
    char* data;
    size_t bytes;
};
struct Handle { // ThreadSanitizer's, of a CUDA thread
    void* thread;
};
struct Turn {
    unsigned number;
};

bool same(const Site& a, const Site& b) {
    const auto equal = [](const char* x, const char* y) { return x == y || std::strcmp(x, y) == 0; };
    return a.line == b.line && equal(a.call, b.call) && equal(a.file, b.file);
}
std::string text(const Site& s) { return fmt::format("{} ({}:{})", s.call, s.file, s.line); }
std::string text(const uint3& i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }
std::string text(const Thread& t) {
    return fmt::format("thread {} [warp {} lane {}]", text(t.index), t.number / 32, t.number % 32);
}
std::string where(const Thread& t) {
    return t.state == State::exited ? "has exited" : t.state == State::ready ? "runs" : "waits at " + text(t.site);
}

void fill_with_nan(char* from, size_t bytes) { // no memset: see above
    volatile uint64_t* word = reinterpret_cast<uint64_t*>(from);
    for (size_t i = 0; i < bytes / sizeof *word; ++i) word[i] = ~uint64_t(0);
}

// What a host thread keeps between launches: stacks and shared memory are mapped once.
class Machine {
public:
    Machine() : threads_(new Thread[most_threads]), warps_(new Warp[most_threads / 32]) {
        void* p = ::mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) throw std::bad_alloc();
        arena_ = static_cast<char*>(p);
        sanitizer::poison(arena_, arena_bytes);
    }
    ~Machine() {
        for (const Handle h : spare_) sanitizer::delete_thread(h.thread);
        sanitizer::unpoison(arena_, arena_bytes);
        ::munmap(arena_, arena_bytes);
    }

    void launch(const char* kernel, dim3 grid, dim3 block, size_t dynamic_bytes);

    // called by the code of a CUDA thread
    void barrier(Site);
    uint64_t meet(unsigned mask, uint64_t value, int source, Site, bool orders_memory);
    void* shared(const void* key, size_t bytes, Site name);
    void* dynamic(Site name);

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
    void check_redzones();
    std::string diagnose();
    void refuse(const std::string& what); // of the running thread: then it must stop(), with no string left to free
    [[noreturn]] void stop();
    void set_failure(const std::string& what);
    void wait();
    char* place(const void* key, size_t bytes, Site name);

    std::unique_ptr<Thread[]> threads_;
    std::unique_ptr<Warp[]> warps_;
    std::vector<Turn> turns_, block_turns_;
    char *arena_, *dynamic_ = nullptr;
    size_t arena_used_ = 0, static_bytes_ = 0, dynamic_bytes_ = 0;
    SharedArray arrays_[most_arrays];
    size_t used_arrays_ = 0;
    std::vector<Handle> used_, spare_; // in this launch, and for the next
    unsigned size_ = 0, exited_ = 0;   // threads of the block
    unsigned openings_ = 0;            // of the block's barrier
    char start_tag_ = 0, barrier_tag_[2] = {}, end_tag_ = 0;
    uint64_t random_ = 0;
    std::string failure_;
};

constinit thread_local Machine* machine = nullptr;

// SplitMix64 [Steele et al. 2014]
uint64_t next_random(uint64_t& state) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void Machine::arrange(std::vector<Turn>& turns, size_t n) {
    if (turns.size() != n) turns.resize(n);
    const int how = order;
    for (size_t i = 0; i < n; ++i) turns[i].number = static_cast<unsigned>(how == 1 ? n - 1 - i : i);
    if (how > 1)
        for (size_t i = n; i > 1; --i) std::swap(turns[i - 1].number, turns[next_random(random_) % i].number);
}

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

void Machine::launch(const char* name, dim3 g, dim3 b, size_t dynamic_bytes) {
    if (kernel) fail(Exit::internal, "{} is launched by a thread of {}: not supported", name, kernel);
    kernel = name, grid = g, block = b, dynamic_bytes_ = dynamic_bytes;
    struct Ended {
        const char*& kernel;
        ~Ended() { kernel = nullptr; }
    } ended{kernel};
    check_limits();
    size_ = block.x * block.y * block.z;
    random_ = static_cast<uint64_t>(order);
    failure_.clear();
    const size_t blocks = size_t(grid.x) * grid.y * grid.z;
    arrange(block_turns_, blocks);
    arrange(turns_, size_);
    ++counted.launches;
    for (size_t i = 0; i < blocks && failure_.empty(); ++i) {
        const unsigned n = block_turns_[i].number;
        block_index = {n % grid.x, n / grid.x % grid.y, n / grid.x / grid.y};
        run_block();
    }
    end_launch();
    if (!failure_.empty()) throw Error(Exit::internal, failure_);
}

void Machine::enter() {
    Machine& m = *machine;
    sanitizer::acquire(&m.start_tag_);
    m.body(m.with);
    m.running->state = State::exited;
    ++m.exited_;
    sanitizer::release(&m.end_tag_);
    m.running->fiber.finish();
}

void Machine::run_block() {
    exited_ = 0;
    static_bytes_ = 0;
    dynamic_ = nullptr;
    here = {{}, block_index, block, grid, 0};
    for (unsigned i = 0; i < size_; ++i) {
        Thread& t = threads_[i];
        t.number = i;
        t.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        t.state = State::ready;
        void* handle = nullptr;
        if (!spare_.empty()) handle = spare_.back().thread, spare_.pop_back();
        t.fiber.prepare(&Machine::enter, i, handle);
    }
    sanitizer::release(&start_tag_);
    ++counted.blocks;
    counted.threads += size_;
    while (failure_.empty()) {
        while (take_turns()) {}
        if (!failure_.empty() || exited_ == size_) break;
        const std::string wrong = diagnose();
        if (wrong.empty()) {
            open_barrier();
        } else {
            set_failure(wrong);
            resume(*running); // to stop() there, for a debugger
        }
    }
    end_block();
}

void Machine::resume(Thread& t) {
    running = &t;
    here.thread = t.index;
    here.lane = static_cast<int>(t.number % 32);
    ++counted.switches;
    t.fiber.resume();
}

// Every thread that can run does so once, so that none meets the next meeting's lanes before all have left the last.
bool Machine::take_turns() {
    bool ran = false;
    if (order > 1) arrange(turns_, size_);
    for (const Turn turn : turns_) {
        Thread& t = threads_[turn.number];
        if (t.state != State::ready) continue;
        resume(t);
        if (!failure_.empty()) return false;
        ran = true;
    }
    return ran;
}

void Machine::open_barrier() {
    ++openings_;
    for (unsigned i = 0; i < size_; ++i) threads_[i].state = State::ready;
}

void Machine::end_block() {
    if (failure_.empty())
        check_redzones();
    else
        for (size_t w = 0; w < most_threads / 32; ++w) warps_[w] = Warp();
    sanitizer::poison(arena_, arena_used_);
    used_arrays_ = 0;
    arena_used_ = 0;
    for (unsigned i = 0; i < size_; ++i) {
        void* t = threads_[i].fiber.forget(&end_tag_);
        if (t) used_.push_back({t});
    }
    if (used_.size() > 4000) end_launch(); // ThreadSanitizer has room for 8000
    running = nullptr;
    // Nothing orders the next block's use of shared memory after this one's, and nothing needs to: it is new memory.
    if (sanitizer::thread)
        ::mmap(arena_, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

// ThreadSanitizer takes long to make a thread. A launch must not use one twice, or two blocks would seem to be ordered.
void Machine::end_launch() {
    sanitizer::acquire(&end_tag_);
    for (const Handle h : used_) spare_.push_back(h);
    used_.clear();
}

// What keeps a block from going on; "" if all threads wait at one barrier.
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

void Machine::set_failure(const std::string& what) {
    failure_ = fmt::format("{}: block {}: {}", kernel, text(block_index), what);
}

void Machine::refuse(const std::string& what) { set_failure(text(*running) + " " + what); }

void Machine::stop() {
    failed(failure_.c_str());
    running->fiber.suspend(); // for good: the launch throws
    __builtin_unreachable();
}

void Machine::wait() {
    running->fiber.suspend();
    if (!failure_.empty()) stop();
}

void Machine::barrier(Site site) {
    // Two tags in turn: one thread's way from this barrier to the next must not seem to be before another's.
    char* tag = &barrier_tag_[openings_ & 1];
    sanitizer::release(tag);
    running->state = State::at_barrier;
    running->site = site;
    wait();
    sanitizer::acquire(tag);
}

uint64_t Machine::meet(unsigned mask, uint64_t value, int source, Site site, bool orders_memory) {
    Thread& me = *running;
    Thread* lanes = &me - me.number % 32;
    if (!(mask >> (me.number % 32) & 1)) {
        refuse(fmt::format("is at {} with mask {:#010x}, which lacks its own lane", text(site), mask));
        stop();
    }
    const unsigned in_block = std::min(32u, size_ - lanes->number);
    if (in_block < 32 && mask >> in_block) {
        refuse(fmt::format("is at {} with mask {:#010x}, but its warp has {} lanes: the others never arrive",
                           text(site), mask, in_block));
        stop();
    }
    Meeting* meeting = nullptr;
    for (Meeting& m : warps_[me.number / 32].meetings) {
        if (m.missing > 0 && m.mask == mask && same(m.site, site)) {
            meeting = &m;
            break;
        }
        if (m.inside == 0 && !meeting) meeting = &m;
    }
    if (meeting->inside == 0) meeting->mask = mask, meeting->site = site, meeting->missing = __builtin_popcount(mask);
    ++meeting->inside;
    me.meeting = meeting, me.value = value, me.source = source, me.state = State::in_warp, me.site = site;
    if (orders_memory) sanitizer::release(&meeting->tag);
    if (--meeting->missing == 0) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < 32; ++lane)
            if (mask >> lane & 1) votes |= (lanes[lane].value & 1) << lane;
        for (unsigned lane = 0; lane < 32; ++lane) {
            if (!(mask >> lane & 1)) continue;
            const int from = lanes[lane].source;
            lanes[lane].result = from < 0 ? votes : mask >> from & 1 ? lanes[from].value : ~uint64_t(0);
        }
        for (unsigned lane = 0; lane < 32; ++lane)
            if (mask >> lane & 1) lanes[lane].state = State::ready;
    }
    wait();
    if (orders_memory) sanitizer::acquire(&meeting->tag);
    --meeting->inside;
    return me.result;
}

// Shared memory starts as NaN, between redzones that are NaN, too.
char* Machine::place(const void* key, size_t bytes, Site name) {
    const size_t room = (bytes + 15) / 16 * 16;
    char* data = arena_ + arena_used_ + redzone;
    arena_used_ += redzone + room;
    sanitizer::unpoison(data - redzone, redzone + room + redzone);
    fill_with_nan(data - redzone, redzone + room + redzone);
    sanitizer::poison(data - redzone, redzone + room + redzone);
    sanitizer::unpoison(data, bytes);
    arrays_[used_arrays_++] = {key, name, data, bytes};
    return data;
}

void* Machine::shared(const void* key, size_t bytes, Site name) {
    for (size_t i = 0; i < used_arrays_; ++i)
        if (arrays_[i].key == key) return arrays_[i].data;
    if (used_arrays_ == most_arrays) {
        refuse(fmt::format("has more than {} shared arrays", most_arrays - 1));
        stop();
    }
    static_bytes_ += bytes;
    if (static_bytes_ > static_shared_limit || static_bytes_ + dynamic_bytes_ > shared_limit) {
        refuse(fmt::format("asks for {} bytes of shared memory for {}: of {} static and {} dynamic bytes a block "
                           "can have {} static ones and {} in all",
                           bytes, text(name), static_bytes_, dynamic_bytes_, static_shared_limit, shared_limit.load()));
        stop();
    }
    return place(key, bytes, name);
}

void* Machine::dynamic(Site name) {
    if (!dynamic_) dynamic_ = place(nullptr, dynamic_bytes_, name);
    return dynamic_;
}

// Without AddressSanitizer, a write just outside a shared array is found when the block ends.
void Machine::check_redzones() {
    if (sanitizer::address) return;
    const auto untouched = [](const char* from, size_t bytes) {
        for (; bytes % sizeof(uint64_t); --bytes)
            if (*from++ != '\xff') return false;
        const uint64_t* word = reinterpret_cast<const uint64_t*>(from);
        return std::all_of(word, word + bytes / sizeof *word, [](uint64_t w) { return w == ~uint64_t(0); });
    };
    for (size_t i = 0; i < used_arrays_; ++i) {
        const SharedArray& a = arrays_[i];
        const size_t rest = (a.bytes + 15) / 16 * 16 - a.bytes;
        for (const bool after : {false, true})
            if (!untouched(after ? a.data + a.bytes : a.data - redzone, after ? rest + redzone : redzone))
                return set_failure(fmt::format("a write {} shared array {} of {} bytes", after ? "behind" : "before",
                                               text(a.name), a.bytes));
    }
}

void Machine::print() const {
    if (!kernel) return;
    fmt::print(stderr, "{}: block {} of ({},{},{})\n", kernel, text(block_index), grid.x, grid.y, grid.z);
    for (unsigned i = 0; i < size_; ++i)
        fmt::print(stderr, "  {} {}{}\n", text(threads_[i]), where(threads_[i]), &threads_[i] == running ? " <-" : "");
}

} // namespace

constinit thread_local Coordinates here{};

void set_order(int how) { order = how; }
void set_shared_limit(size_t bytes) {
    fci::check(bytes + most_arrays * (redzone + 16) + redzone <= arena_bytes,
               "the emulator has no {} bytes of shared memory", bytes);
    shared_limit = bytes;
}
size_t get_shared_limit() { return shared_limit; }
Counters& counters() { return counted; }

__attribute__((noinline)) void failed(const char* message) { asm volatile("" : : "r"(message) : "memory"); }
void print_threads() {
    if (machine) machine->print();
}

void sync_threads(Site site) { machine->barrier(site); }
void sync_warp(unsigned mask, Site site) { machine->meet(mask, 0, -1, site, true); }
uint64_t exchange(unsigned mask, uint64_t value, int source, Site site) {
    return machine->meet(mask, value, source, site, false); // no memory is ordered, says CUDA's manual
}
unsigned ballot(unsigned mask, bool predicate, Site site) {
    return static_cast<unsigned>(machine->meet(mask, predicate, -1, site, false));
}
void* shared_array(const void* key, size_t bytes, Site name) { return machine->shared(key, bytes, name); }
void* dynamic_shared(Site name) { return machine->dynamic(name); }

void run(const char* kernel, dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(const void*), const void* with) {
    static thread_local Machine own;
    machine = &own;
    own.body = body;
    own.with = with;
    own.launch(kernel, grid, block, dynamic_bytes);
}

} // namespace emulator
