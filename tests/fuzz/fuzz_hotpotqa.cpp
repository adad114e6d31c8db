// Random damage to HotpotQA files in each layout: the reader must refuse with Exit::bad_data, or return examples that
// hang together and come through a second load and save unchanged. Case i depends on i alone.
#include <algorithm>
#include <string>

#include "core/check.h"
#include "core/rng.h"
#include "study/hotpot_eval.h"
#include "tasks/hotpotqa.h"
#include "tests/catch.h"
#include "tests/fuzz/damage.h"

using namespace fci;

namespace {

const std::string official =
    R"({"_id":"5a","question":"Who is T?","answer":"é","type":"bridge","level":"easy","supporting_facts":[["T",1],["U",0]],"context":[["T",["One \"x\"."," Two."]],["U",["Three \u00e9\n."]]]})";
const std::string columnar =
    R"({"id":"5b","question":"Q?","answer":"A","type":"bridge","level":"hard","supporting_facts":{"title":["T"],"sent_id":[0]},"context":{"title":["T","U"],"sentences":[["One."],["Two."]]}})";
const std::string files[] = {"[" + official + ",\n" + columnar + "]", columnar + "\n" + official + "\n",
                             "[" + columnar + "," + official + "," + official + "]"};

const std::string pieces[] = {"{",
                              "}",
                              "[",
                              "]",
                              ",",
                              ":",
                              "\"",
                              "\\",
                              "\\\"",
                              "\\\\\"",
                              "\\ud83d",
                              "\\u0000",
                              "\xFF",
                              "\xC3",
                              "\n",
                              "null",
                              "1e9",
                              "-1",
                              "[]",
                              "{}",
                              "\"\"",
                              "[\"T\"",
                              "99999999999999999999",
                              "true",
                              "[[\"T\",[]]]",
                              "\"context\":",
                              "\xEF\xBB\xBF",
                              std::string(1, '\0')};

void damage(Rng& rng, std::string& s) {
    const size_t at = rng.below(static_cast<uint32_t>(s.size() + 1));
    const size_t n = std::min<size_t>(rng.below(12), s.size() - at);
    switch (const uint32_t way = rng.below(common_damages + 2)) {
    case 4:
        if (rng.below(4) == 0) s.resize(at);
        break;
    case 5:
        s.replace(at, n / 3, pieces[rng.below(static_cast<uint32_t>(std::size(pieces)))]);
        break;
    default:
        common_damage(rng, s, way, at, n);
    }
}

void expect_consistent(const HotpotFile& file, Workers& workers) {
    REQUIRE(static_cast<size_t>(file.malformed) == file.problems.size());
    for (const HotpotExample& x : file.examples) {
        uint32_t end = 0;
        for (const auto& p : x.paragraphs) {
            REQUIRE(p.begin == end);
            REQUIRE(p.end >= p.begin);
            end = p.end;
        }
        REQUIRE(end == x.sentences.size());
        REQUIRE(std::is_sorted(x.supporting.begin(), x.supporting.end()));
        REQUIRE((x.supporting.empty() || x.supporting.back() < end));
        REQUIRE(x.lost_facts() >= 0);
        WordIndex scratch(Tokeniser::letters);
        HotpotOptions o;
        o.unit = "sentences", o.tokeniser = "letters";
        const HotpotFound f = find_hotpot(x, 0, o, scratch);
        if (f.begins.empty()) continue;
        const HotpotMeasure m = measure_hotpot(x, f);
        for (size_t i = 0; i < m.value.size(); ++i)
            REQUIRE((m.value[i] >= 0 && m.value[i] <= 1 && m.chance[i] >= 0 && m.chance[i] <= 1 + 1e-12));
    }
    const std::string text = hotpot_json(file.examples);
    const HotpotFile again = parse_hotpot("again", text, workers);
    REQUIRE(again.malformed == 0);
    REQUIRE(hotpot_json(again.examples) == text);
}

} // namespace

TEST_CASE("fuzz: damaged HotpotQA files are refused or consistent", "[hotpot]") {
    constexpr int cases = 50'000;
    Workers workers(1);
    int accepted = 0, skipped = 0, refused = 0;
    for (int i = 0; i < cases; ++i) {
        Rng rng(2, Stream::pattern, static_cast<uint64_t>(i));
        std::string text = files[rng.below(static_cast<uint32_t>(std::size(files)))];
        for (uint32_t n = 1 + rng.below(3); n > 0; --n) damage(rng, text);
        INFO("case " << i);
        try {
            const HotpotFile file = parse_hotpot("fuzzed", text, workers);
            expect_consistent(file, workers);
            ++(file.malformed ? skipped : accepted);
        } catch (const Error& e) {
            if (e.exit != Exit::bad_data) FAIL(e.what());
            ++refused;
        }
    }
    REQUIRE(accepted > cases / 20); // every way was gone
    REQUIRE(skipped > cases / 20);
    REQUIRE(refused > cases / 20);
}
