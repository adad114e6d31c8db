// Parts that the op table cannot reach: other paths of the twins, which depend on the device.
#include "ops/attention.h"
#include "tests/catch.h"
#include "tests/op_table.h"

namespace emulator {
struct Counters {
    uint64_t launches, blocks, threads, switches;
};
[[gnu::weak]] void set_shared_limit(size_t bytes);
[[gnu::weak]] Counters& counters();
} // namespace emulator

namespace fci::test {
namespace {

constexpr size_t usual = 227 << 10;
struct SharedLimit {
    explicit SharedLimit(size_t bytes) { emulator::set_shared_limit(bytes); }
    ~SharedLimit() { emulator::set_shared_limit(usual); }
};

uint64_t switches(const OpCase& op) {
    const uint64_t before = emulator::counters().switches;
    CHECK(check_twin(op) == "");
    return emulator::counters().switches - before;
}

} // namespace

// With less shared memory the keys pass in several chunks: more barriers, the same results. With even less, a block
// takes a row; a sparse rule has no such way, and says so.
TEST_CASE("attention streams keys that do not fit in shared memory", "[twin]") {
    if (!emulator::set_shared_limit) return; // a GPU's memory cannot be changed
    const std::string longer = std::to_string(AttentionShape::tile + 1),
                      more = std::to_string(AttentionShape::rows + 1);
    for (const std::string& name :
         {"self_attention batch=1 time=" + longer + " heads=1 d_head=4 full", "query_attention batch=2 queries=" + more,
          "rank1_attention batch=1 time=" + longer, std::string("sparse_attention batch=2 time=67")}) {
        const OpCase& op = row_of(name);
        const uint64_t at_once = switches(op);
        {
            const SharedLimit few(24 << 10);
            CHECK(switches(op) > at_once);
        }
        const SharedLimit none(2 << 10);
        if (name.starts_with("sparse"))
            CHECK_THROWS_WITH(check_twin(op), Catch::Matchers::Contains("use more heads"));
        else
            CHECK(check_twin(op) == "");
    }
}

TEST_CASE("gated_scan says what does not fit in shared memory", "[twin]") {
    if (!emulator::set_shared_limit) return;
    const SharedLimit few(4 << 10);
    CHECK_THROWS_WITH(check_twin(row_of("gated_scan batch=1 time=48")),
                      Catch::Matchers::Contains("gated_scan: a rank of 19 needs"));
}

TEST_CASE("causal_conv1d says what filters a GPU takes", "[twin]") {
    CHECK_THROWS_WITH(check_twin(row_of("causal_conv1d batch=1 time=7")),
                      Catch::Matchers::Contains("on a GPU a filter has up to 4 taps, this one has 9"));
}

} // namespace fci::test
