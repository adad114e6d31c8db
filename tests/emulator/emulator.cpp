// The emulator's scheduler. It runs the blocks of a launch one after another, and the threads of a block in turns from
// one meeting (barrier, shuffle, vote) to the next. A thread that waits is suspended. When no thread can run, either
// all wait at one barrier, which then opens, or the kernel is wrong and diagnose() says how. See README.md.
#include "tests/emulator/emulator.h"

#include "tests/emulator/device_memory.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/sanitizers.h"

namespace emulator {

std::atomic<size_t> shared_limit = 227 << 10;
constinit thread_local Coordinates here{};

namespace {

std::atomic<int> order = 0;
std::atomic<size_t> free_memory = size_t{80} << 30;
constinit thread_local Counters counted;

constinit thread_local Machine* machine = nullptr;

// SplitMix64 [Steele et al. 2014]
uint64_t next_random(uint64_t& state) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

} // namespace

Machine::~Machine() {
    for (const Handle h : spare_) sanitizer::delete_thread(h.thread);
}

void Machine::arrange(std::vector<Turn>& turns, size_t n) {
    if (turns.size() != n) turns.resize(n);
    const int how = order;
    for (size_t i = 0; i < n; ++i) turns[i].number = static_cast<unsigned>(how == 1 ? n - 1 - i : i);
    if (how > 1)
        for (size_t i = n; i > 1; --i) std::swap(turns[i - 1].number, turns[next_random(random_) % i].number);
}

void Machine::launch(const char* name, dim3 g, dim3 b, size_t dynamic_bytes) {
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
    if (!failure_.empty()) throw fci::Error(fci::Exit::internal, failure_);
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
            resume(*running); // it calls stop() there, for a debugger
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

// Each thread that can run does so once, so that no thread reaches its next meeting before all lanes have left the last
// one.
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
    if (failure_.empty()) {
        const std::string wrong = shared_.trespass();
        if (!wrong.empty()) set_failure(wrong);
    } else {
        for (size_t w = 0; w < most_threads / 32; ++w) warps_[w] = Warp();
    }
    shared_.clear();
    for (unsigned i = 0; i < size_; ++i) {
        void* t = threads_[i].fiber.forget(&end_tag_);
        if (t) used_.push_back({t});
    }
    if (used_.size() > 4000) end_launch(); // ThreadSanitizer has room for 8000
    running = nullptr;
}

// ThreadSanitizer takes long to create a thread. A launch must not use one twice, or two blocks would seem to be
// ordered.
void Machine::end_launch() {
    sanitizer::acquire(&end_tag_);
    for (const Handle h : used_) spare_.push_back(h);
    used_.clear();
}

void Machine::set_failure(const std::string& what) {
    failure_ = fmt::format("{}: block {}: {}", kernel, text(block_index), what);
}

void Machine::refuse(const std::string& what) { set_failure(text(*running) + " " + what); }

void Machine::refuse_launch(const char* name) {
    refuse(fmt::format("launches {}: a kernel cannot launch kernels here", name));
    stop();
}

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
    // Two tags in turn: what one thread does between this barrier and the next must not seem to be before what another
    // does.
    char* tag = &barrier_tag_[openings_ & 1];
    sanitizer::release(tag);
    running->state = State::at_barrier;
    running->site = site;
    wait();
    sanitizer::acquire(tag);
}

uint64_t Machine::meet(unsigned mask, uint64_t value, int source, Site site, bool orders_memory,
                       void (*work)(const uint64_t* values)) {
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
        if (work) {
            uint64_t values[32] = {};
            for (unsigned lane = 0; lane < in_block; ++lane) values[lane] = lanes[lane].value;
            work(values);
        }
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

void* Machine::shared(const void* key, size_t bytes, Site name) {
    if (char* there = shared_.find(key)) return there;
    if (shared_.full()) {
        refuse(fmt::format("has more than {} shared arrays", SharedMemory::most_arrays - 1));
        stop();
    }
    static_bytes_ += bytes;
    if (static_bytes_ > static_shared_limit || static_bytes_ + dynamic_bytes_ > shared_limit) {
        refuse(fmt::format("asks for {} bytes of shared memory for {}: of {} static and {} dynamic bytes a block "
                           "can have {} static ones and {} in all",
                           bytes, text(name), static_bytes_, dynamic_bytes_, static_shared_limit, shared_limit.load()));
        stop();
    }
    return shared_.add(key, bytes, name);
}

void* Machine::dynamic(Site name) {
    char* there = shared_.find(this);
    return there ? there : shared_.add(this, dynamic_bytes_, name);
}

void set_order(int how) { order = how; }
void set_shared_limit(size_t bytes) {
    fci::check(bytes <= SharedMemory::most_bytes, "the emulator has no {} bytes of shared memory", bytes);
    shared_limit = bytes;
}
size_t get_shared_limit() { return shared_limit; }
void set_free_memory(size_t bytes) { free_memory = bytes; }
size_t get_free_memory() { return free_memory; }
Counters& counters() { return counted; }

__attribute__((noinline)) void failed(const char* message) { asm volatile("" : : "r"(message) : "memory"); }
void print_threads() {
    if (machine) machine->print();
}

namespace {
template <Format format>
void multiply_all(const uint64_t* values) {
    Fragments* lanes[32];
    for (int l = 0; l < 32; ++l) lanes[l] = reinterpret_cast<Fragments*>(values[l]);
    tensor_core(format, lanes);
}
} // namespace

void sync_threads(Site site) { machine->barrier(site); }
void sync_warp(unsigned mask, Site site) { machine->meet(mask, 0, -1, site, true); }
uint64_t exchange(unsigned mask, uint64_t value, int source, Site site) {
    return machine->meet(mask, value, source, site, false); // CUDA's manual: this does not order memory
}
unsigned ballot(unsigned mask, bool predicate, Site site) {
    return static_cast<unsigned>(machine->meet(mask, predicate, -1, site, false));
}
void multiply(Format format, Fragments& mine, Site site) {
    machine->meet(~0u, reinterpret_cast<uint64_t>(&mine), -1, site, false,
                  format == Format::half ? multiply_all<Format::half> : multiply_all<Format::tf32>);
}
void* shared_array(const void* key, size_t bytes, Site name) { return machine->shared(key, bytes, name); }
void* dynamic_shared(Site name) { return machine->dynamic(name); }

void run(const char* kernel, dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(const void*), const void* with) {
    if (machine && machine->kernel) machine->refuse_launch(kernel);
    static thread_local Machine own;
    machine = &own;
    own.body = body;
    own.with = with;
    const OpenDeviceMemory open;
    own.launch(kernel, grid, block, dynamic_bytes);
}

} // namespace emulator
