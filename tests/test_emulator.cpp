// The emulator of tests/emulator: correct kernels give the right numbers, with the same bits in every order of threads;
// every seeded bug is caught, by the emulator itself or by the sanitizers in their builds.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "core/device.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/kernels.h"
#include "tests/faults/program.h"
#include "tests/op_table.h"
#include "train/gpu.h"

using namespace fci;
using namespace fci::test;

namespace {

constexpr int rows = 2, columns = 150; // more than a block of 128 threads, and an uneven share per thread

std::vector<float> numbers(int n) {
    Rng rng(1, Stream::pattern, 0);
    std::vector<float> x(n);
    for (float& v : x) v = rng.uniform(-1, 1);
    return x;
}

// The bits of act() in three orders of threads and blocks.
template <class Act>
std::vector<std::vector<float>> in_each_order(Act act) {
    std::vector<std::vector<float>> results;
    for (const int order : {0, 1, 20}) {
        emulator::set_order(order);
        results.push_back(act());
    }
    emulator::set_order(0);
    return results;
}
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> softmax_of(const std::vector<float>& x, Bug bug = Bug::none) {
    std::vector<float> y(x.size(), NAN);
    softmax(x.data(), y.data(), rows, columns, bug);
    return y;
}
std::string softmax_error(Bug bug, int block = 128) {
    const std::vector<float> x = numbers(rows * columns);
    std::vector<float> y(x.size());
    return error_of([&] { softmax(x.data(), y.data(), rows, columns, bug, block); });
}

// Checks that an error or report contains all these parts.
template <class... Parts>
void expect_parts(const std::string& text, const Parts&... parts) {
    for (const std::string& part : {std::string(parts)...}) {
        INFO(text << "\nexpected in it: " << part);
        CHECK(text.find(part) != std::string::npos);
    }
}

template <class T>
concept HasAtomicAdd = requires(T* p, T v) {
    atomicAdd(p, v);
};
static_assert(HasAtomicAdd<int> && HasAtomicAdd<unsigned> && HasAtomicAdd<unsigned long long>);
static_assert(!HasAtomicAdd<float> && !HasAtomicAdd<double>, "the order of a sum of floats would change its bits");

} // namespace

TEST_CASE("emulator: right kernels give the right numbers, the same bits in every order", "[emulator]") {
    const std::vector<float> x = numbers(rows * columns);

    const auto y = in_each_order([&] { return softmax_of(x); });
    CHECK(same_bits(y[0], y[1]));
    CHECK(same_bits(y[0], y[2]));
    for (int r = 0; r < rows; ++r) {
        double sum = 0;
        for (int c = 0; c < columns; ++c) sum += std::exp(double(x[r * columns + c]));
        for (int c = 0; c < columns; ++c)
            REQUIRE(y[0][r * columns + c] == Approx(std::exp(double(x[r * columns + c])) / sum).epsilon(1e-5));
    }

    const int high = 7, wide = 41;
    const auto sums = in_each_order([&] {
        std::vector<float> s(wide, NAN);
        column_sum(x.data(), s.data(), high, wide);
        return s;
    });
    CHECK(same_bits(sums[0], sums[1]));
    CHECK(same_bits(sums[0], sums[2]));
    for (int c = 0; c < wide; ++c) {
        double sum = 0;
        for (int r = 0; r < high; ++r) sum += x[r * wide + c];
        REQUIRE(sums[0][c] == Approx(sum).margin(1e-5));
    }

    const std::vector<int32_t> values = [] {
        std::vector<int32_t> v(100);
        for (int i = 0; i < 100; ++i) v[i] = i * i % 7;
        return v;
    }();
    int count[7] = {}, expected[7] = {};
    histogram(values.data(), 100, count);
    for (const int32_t v : values) ++expected[v];
    CHECK(std::equal(count, count + 7, expected));
}

TEST_CASE("emulator: the functions of a warp", "[emulator]") {
    for (const int order : {0, 1, 20}) {
        emulator::set_order(order);
        std::vector<int64_t> y(32 * warp_results);
        warp_functions(y.data());
        for (int l = 0; l < 32; ++l) {
            INFO("lane " << l << ", order " << order);
            const int part8 = l / 8 * 8, part16 = l / 16 * 16;
            const std::vector<int64_t> expected = {105,
                                                   100 + part8 + 3,
                                                   100 + (l ^ 1),
                                                   100 + (l ^ 16),
                                                   100 + ((l ^ 12) < part8 + 8 ? l ^ 12 : l),
                                                   100 + (l + 4 < 32 ? l + 4 : l),
                                                   100 + (l + 4 < part8 + 8 ? l + 4 : l),
                                                   100 + (l - 3 >= 0 ? l - 3 : l),
                                                   100 + (l - 3 >= part16 ? l - 3 : l),
                                                   263,
                                                   0x49249249,
                                                   8 + 2,
                                                   l % 2 ? 0xa : 1,
                                                   l % 2 ? -1 : 130};
            CHECK(std::vector<int64_t>(&y[l * warp_results], &y[(l + 1) * warp_results]) == expected);
        }
    }
    emulator::set_order(0);
    CHECK((__popc(0xf0f0u) == 8 && __ffs(0) == 0 && __ffs(8) == 4 && __clz(0) == 32 && __clz(1) == 31));
    CHECK((max(2, -3) == 2 && min(2.0f, NAN) == 2.0f && rsqrtf(4.0f) == 0.5f && __fmaf_rn(2, 3, 4) == 10));
    CHECK((sizeof(float4) == 16 && alignof(float4) == 16 && make_float4(1, 2, 3, 4).w == 4 && alignof(float2) == 8));
}

TEST_CASE("emulator: meetings that cannot take place are errors that name both sides", "[emulator]") {
    for (const int order : {0, 1, 20}) {
        emulator::set_order(order);
        std::string e = softmax_error(Bug::divergent_barrier);
        expect_parts(e, "softmax_kernel<bug>): block (", "wait at different barriers",
                     "__syncthreads (tests/emulator/kernels.cu:", "thread (64,0,0) [warp 2 lane 0]");
        e = softmax_error(Bug::early_exit);
        expect_parts(e, "thread (70,0,0) [warp 2 lane 6] has exited", "waits at __syncthreads");
        e = softmax_error(Bug::missing_lane);
        expect_parts(e, "waits at __shfl_xor_sync", "for lane 5, which never arrives: it has exited");
        e = error_of(multiply_without_a_lane);
        expect_parts(e, "waits at mma.sync", "for lane 31, which never arrives: it has exited");
        e = softmax_error(Bug::other_mask);
        expect_parts(e, "deadlock", "with mask 0xffffffff", "never arrives: it waits at");
        e = softmax_error(Bug::foreign_mask);
        expect_parts(e, "__syncwarp", "mask 0x0000ffff, which lacks its own lane");
        e = softmax_error(Bug::none, 48);
        expect_parts(e, "mask 0xffffffff, but its warp has 16 lanes");
    }
    emulator::set_order(0);
    CHECK(softmax_error(Bug::none).empty()); // and the next launch is unaffected
}

TEST_CASE("emulator: shared memory starts as NaN in each block", "[emulator]") {
    std::vector<float> y(2 * 32 * 2, 0.0f);
    unwritten(y.data());
    CHECK(std::all_of(y.begin(), y.end(), [](float v) { return std::isnan(v); }));
}

TEST_CASE("emulator: launches beyond the limits are errors", "[emulator]") {
    const auto error = [](auto... with) { return error_of([&] { nothing(with...); }); };
    CHECK(error(1, 1, 1024).empty());
    CHECK(error(1, 1, 16, 64).empty());
    CHECK(error(1, 3, 1).empty());
    CHECK(error(1, 1, 1, 1, 227 << 10).empty());
    expect_parts(error(1, 1, 0), "nothing_kernel: a block of (0,1,1) threads");
    expect_parts(error(1, 1, 1025), "a block of (1025,1,1) threads");
    expect_parts(error(1, 1, 32, 33), "a block of (32,1,33) threads");
    expect_parts(error(1, 1, 1, 65), "at most 64 in z");
    expect_parts(error(0, 1, 1), "a grid of (0,1,1) blocks");
    expect_parts(error(1, 65536, 1), "a grid of (1,65536,1) blocks");
    expect_parts(error(-1, 1, 1), "a grid of (4294967295,1,1) blocks");
    expect_parts(error(1, 1, 1, 1, (227 << 10) + 1), "dynamic shared memory");
    expect_parts(error_of(static_array_of_50000_bytes), "asks for 50000 bytes of shared memory for array");
    CHECK(error_of([] { static_array_of_1000_bytes(226 << 10); }).empty());
    expect_parts(error_of([] { static_array_of_1000_bytes(227 << 10); }), "1000 static and 232448 dynamic bytes");
    const auto nested = [] { emulator::launch("outer", 1, 1, 0, [] { emulator::launch("inner", 1, 1, 0, [] {}); }); };
    expect_parts(error_of(nested), "outer: block (0,0,0)", "launches inner");
    emulator::set_shared_limit(10000);
    expect_parts(error(1, 1, 1, 1, 10001), "a block can have 10000");
    emulator::set_shared_limit(227 << 10);
}

namespace {

__global__ void set_kernel(int* p) { *p = 7; }
struct Captures {
    int n;
    int* p;
};
__global__ void set_captured_kernel(int, Captures c) { *c.p = c.n; }

// The signal that ends a child process that runs act().
template <class Act>
int signal_of(Act act) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGSEGV, SIG_DFL);
        act();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

} // namespace

TEST_CASE("emulator: the device's memory is closed to the host, and starts as NaN", "[emulator]") {
    int* p = static_cast<int*>(cuda::allocate(2 * sizeof(int)));
    int on_host[2] = {};
    cuda::copy_out(on_host, p, sizeof on_host);
    CHECK(on_host[0] == -1);
    FCI_LAUNCH(set_kernel, 1, 1, 0, p + 1);
    cuda::copy_out(on_host, p, sizeof on_host);
    CHECK(on_host[1] == 7);
    volatile int* by_hand = p;
    CHECK(signal_of([=] { return *by_hand; }) == SIGSEGV);
    CHECK(signal_of([=] { *by_hand = 1; }) == SIGSEGV);
    CHECK(signal_of([&] { cuda::copy_out(on_host, p, sizeof on_host); }) == 0);
    cuda::release(p);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they map what looks like pairs of numbers
TEST_CASE("emulator: a kernel that is given the host's memory is an error, structs and lambdas too", "[emulator]") {
    int on_stack = 0;
    static int of_program = 0;
    const std::vector<int> on_heap(4);
    const char* said = "set_kernel: argument 1 has a pointer to the host's memory";
    expect_parts(error_of([&] { FCI_LAUNCH(set_kernel, 1, 1, 0, &on_stack); }), said);
    expect_parts(error_of([&] { FCI_LAUNCH(set_kernel, 1, 1, 0, &of_program); }), said);
    expect_parts(error_of([&] { FCI_LAUNCH(set_kernel, 1, 1, 0, const_cast<int*>(on_heap.data())); }), said);
    expect_parts(error_of([&] {
                     FCI_LAUNCH(set_captured_kernel, 1, 1, 0, 1, (Captures{3, &on_stack}));
                 }),
                 "set_captured_kernel: argument 2 has a pointer to the host's memory, at byte 8");
    CHECK(on_stack + of_program == 0);
    int* managed = static_cast<int*>(cuda::allocate_managed(sizeof(int)));
    FCI_LAUNCH(set_captured_kernel, 1, 1, 0, 1, (Captures{3, managed}));
    CHECK(*managed == 3);
    cuda::release(managed);
}
#endif

TEST_CASE("emulator: a captured step runs when it is replayed, and cannot take memory or copy", "[emulator]") {
    const auto captured = [](auto work) {
        return cuda::capture([](void* with) { (*static_cast<decltype(work)*>(with))(); }, &work);
    };
    int* p = static_cast<int*>(cuda::allocate_managed(sizeof(int)));
    *p = 1;
    int n = 3;
    void* graph = captured([&] { FCI_LAUNCH(set_captured_kernel, 1, 1, 0, 1, (Captures{n, p})); });
    CHECK(*p == 1);
    n = 4; // too late
    cuda::replay(graph);
    CHECK(*p == 3);
    *p = 1;
    cuda::replay(graph);
    CHECK(*p == 3);
    cuda::drop(graph);
    expect_parts(error_of([&] { captured([] { cuda::allocate(1); }); }), "cudaMalloc in a step that is captured");
    expect_parts(error_of([&] { captured([&] { cuda::copy_out(&n, p, sizeof n); }); }), "copy_out in a step");
    FCI_LAUNCH(set_kernel, 1, 1, 0, p); // an error ends the capture
    CHECK(*p == 7);
    cuda::release(p);
}

TEST_CASE("emulator: counts its work, and any number of host threads may launch", "[emulator]") {
    const emulator::Counters before = emulator::counters();
    nothing(3, 1, 5);
    const emulator::Counters& after = emulator::counters();
    CHECK(after.launches - before.launches == 1);
    CHECK(after.blocks - before.blocks == 3);
    CHECK(after.threads - before.threads == 15);
    CHECK(after.switches - before.switches == 15); // without a barrier, one per thread

    const std::vector<float> x = numbers(rows * columns), expected = softmax_of(x);
    std::vector<float> y[2];
    std::thread one([&] { y[0] = softmax_of(x); }), other([&] { y[1] = softmax_of(x); });
    one.join();
    other.join();
    CHECK(same_bits(y[0], expected));
    CHECK(same_bits(y[1], expected));
}

#if !defined(__SANITIZE_THREAD__) // which would end this run: see below
TEST_CASE("emulator: a missing barrier changes the bits from order to order", "[emulator]") {
    const std::vector<float> x = numbers(rows * columns);
    const auto y = in_each_order([&] { return softmax_of(x, Bug::missing_barrier); });
    CHECK_FALSE(same_bits(y[0], y[1]));
    CHECK_FALSE(same_bits(y[0], y[2]));
}
#endif

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("emulator: a write just outside an array is found without sanitizers, too", "[emulator]") {
    const std::string e = softmax_error(Bug::shared_overrun);
    expect_parts(e, "a write behind shared array part (tests/emulator/kernels.cu:", "of 16 bytes");

    const std::vector<float> x = numbers(rows * columns);
    Guarded<float> y(rows * columns);
    softmax(x.data(), y.data(), rows, columns, Bug::global_overrun);
    CHECK_FALSE(y.intact());
}
#endif

// A bug that only a sanitizer finds ends the process: so this test runs the test below in a child process.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
TEST_CASE("emulator: seeded bugs are reported by this build's sanitizer", "[emulator]") {
    const auto reported = [](Bug bug, const std::string& report) {
        const std::string number = std::to_string(static_cast<int>(bug));
        const Ran r = Child(
                          {"emulator: run the bug that FCI_BUG names"}, [&] { ::setenv("FCI_BUG", number.c_str(), 1); },
                          "", "/proc/self/exe")
                          .wait();
        INFO("bug " << number << ", exit code " << r.code << "\n" << r.out << r.err);
        CHECK(r.code != 0);
        expect_parts(r.err, report, "kernels.cu");
    };
#if defined(__SANITIZE_ADDRESS__)
    reported(Bug::shared_overrun, "AddressSanitizer: use-after-poison");
    reported(Bug::global_overrun, "AddressSanitizer: heap-buffer-overflow");
    reported(Bug::global_overread, "AddressSanitizer: heap-buffer-overflow");
#else
    for (const Bug bug : {Bug::missing_barrier, Bug::race_in_block, Bug::race_between_phases, Bug::race_past_shuffle,
                          Bug::race_between_blocks})
        reported(bug, "ThreadSanitizer: data race");
#endif
    // control: a correct kernel gives no report
    const Ran r =
        Child(
            {"emulator: run the bug that FCI_BUG names"}, [] { ::setenv("FCI_BUG", "0", 1); }, "", "/proc/self/exe")
            .wait();
    expect_ran(r, 0, "All tests passed");
}

TEST_CASE("emulator: run the bug that FCI_BUG names", "[.]") {
    const char* number = std::getenv("FCI_BUG");
    REQUIRE(number);
    const Bug bug = static_cast<Bug>(std::atoi(number));
    if (bug < Bug::race_in_block) {
        CHECK(softmax_error(bug).empty());
    } else {
        std::vector<float> y(3, 1);
        race(bug, y.data());
        CHECK(y[0] == 3);
    }
}
#endif
