// What `make fuzz` does at length (tests/fuzz/parsers.h), in seconds and without clang: each parser's seeds, all inputs
// that ever were a finding (tests/fuzz/found/PARSER), and random damage. Case i depends on i alone, so a failure is
// repeated by its number.
#include <algorithm>
#include <filesystem>

#include "core/files.h"
#include "core/rng.h"
#include "tasks/hotpotqa.h"
#include "tests/catch.h"
#include "tests/fuzz/parsers.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

template <class List>
const auto& any_of(Rng& rng, const List& list) {
    return list[rng.below(static_cast<uint32_t>(std::size(list)))];
}

void damage(Rng& rng, std::string& s, const std::vector<std::string>& pieces) {
    const size_t at = rng.below(static_cast<uint32_t>(s.size() + 1));
    const size_t n = std::min<size_t>(rng.below(12), s.size() - at);
    switch (rng.below(7)) {
    case 0:
        if (at < s.size()) s[at] = static_cast<char>(rng.bits());
        break;
    case 1:
        if (at < s.size()) s[at] = static_cast<char>(s[at] ^ 1 << rng.below(8));
        break;
    case 2:
        s.erase(at, n);
        break;
    case 3:
        s.insert(at, s.substr(at, n));
        break;
    case 4:
        if (rng.below(4) == 0) s.resize(at);
        break;
    case 5:
        s.replace(at, n / 3, any_of(rng, pieces));
        break;
    case 6: // one digit for another: mostly still a file, with other sizes
        if (const size_t digit = s.find_first_of("0123456789", at); digit != std::string::npos)
            s[digit] = static_cast<char>('0' + rng.below(10));
    }
}

struct Counted {
    int taken = 0, refused = 0;
};

// each(input): of those that were taken.
Counted damaged(const Parser& parser, int cases, const std::function<void(const std::string&)>& each = {}) {
    Counted n;
    for (int i = 0; i < cases; ++i) {
        Rng rng(1, Stream::pattern, static_cast<uint64_t>(i));
        std::string bytes = any_of(rng, parser.seeds);
        for (uint32_t k = 1 + rng.below(3); k > 0; --k) damage(rng, bytes, parser.pieces);
        INFO(parser.name << ", case " << i);
        const bool taken = parser.takes(bytes);
        ++(taken ? n.taken : n.refused);
        if (taken && each) each(bytes);
    }
    return n;
}

} // namespace

TEST_CASE("fuzz: damaged safetensors files are refused or consistent") {
    for (const auto& [name, cases] : {std::pair("safetensors", 50'000), std::pair("safetensors-header", 150'000)}) {
        const Counted n = damaged(parser_named(name), cases);
        CHECK(n.taken > cases / 100); // both sides were reached
        CHECK(n.refused > cases / 2);
    }
}

TEST_CASE("fuzz: damaged HotpotQA files are refused or consistent", "[hotpot]") {
    constexpr int cases = 50'000;
    Workers workers(1);
    int skipped = 0;
    const Counted n = damaged(parser_named("hotpotqa"), cases, [&](const std::string& text) {
        skipped += parse_hotpot("fuzzed", text, workers).malformed > 0;
    });
    CHECK(n.taken - skipped > cases / 20); // every way was gone
    CHECK(skipped > cases / 20);
    CHECK(n.refused > cases / 20);
}

TEST_CASE("fuzz: every parser takes its seeds, and refuses damage or is consistent") {
    constexpr int cases = 500;
    for (const Parser& parser : parsers()) {
        INFO(parser.name);
        for (const std::string& seed : parser.seeds) {
            INFO(seed);
            CHECK(parser.takes(seed));
        }
        const Counted n = damaged(parser, cases);
        CHECK(n.taken > cases / 100);
        CHECK((n.refused > cases / 100 || parser.name == std::string("words"))); // which are words whatever they are
    }
}

TEST_CASE("fuzz: what was once a finding is none any more") {
    int found = 0;
    for (const auto& folder : fs::directory_iterator("tests/fuzz/found"))
        for (const auto& file : fs::directory_iterator(folder.path())) {
            INFO(file.path().string());
            parser_named(folder.path().filename().string()).takes(read_file(file.path().string()));
            ++found;
        }
    CHECK(found > 0);
}
