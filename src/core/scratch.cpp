#include "core/scratch.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "core/check.h"

namespace fci::cpu {
namespace {

constexpr int guard_words = 16;
constexpr float guard = 7919;

struct Guarded {
    float* data;
    size_t size;
    bool intact() const {
        const auto untouched = [](float x) { return x == guard; };
        return std::all_of(data - guard_words, data, untouched) &&
               std::all_of(data + size, data + size + guard_words, untouched);
    }
};
struct OfThread {
    Arena arena;
    bool checked = false;
    std::vector<Guarded> guarded; // checked mode only
    std::string trespass;
};
thread_local OfThread mine;

} // namespace

Scratch::Scratch() : mark_(mine.arena.mark()), guarded_(mine.guarded.size()) {}

Scratch::~Scratch() {
    for (; mine.guarded.size() > guarded_; mine.guarded.pop_back())
        if (const Guarded& g = mine.guarded.back(); !g.intact())
            mine.trespass = fmt::format("a write outside scratch of {} floats", g.size);
    mine.arena.release(mark_);
}

float* Scratch::floats(size_t n) {
    if (!mine.checked) return mine.arena.floats(n);
    float* all = mine.arena.floats(n + 2 * guard_words);
    std::fill_n(all, n + 2 * guard_words, guard);
    std::fill_n(all + guard_words, n, std::numeric_limits<float>::quiet_NaN());
    mine.guarded.push_back({all + guard_words, n});
    return all + guard_words;
}

void Scratch::reserve() {
    const Scratch first;
    mine.arena.bytes(1);
}

void Scratch::set_checked(bool on) { mine.checked = on; }
std::string Scratch::trespass() { return std::exchange(mine.trespass, {}); }

} // namespace fci::cpu
