// Search in HotpotQA: words, BM25, the measures and the chance of a blind choice. tests/golden/hotpotqa.tsv holds the
// results of tools/hotpot_bm25.py on hotpotqa.json in the same folder. The real file is used if FCI_SHARED or ../shared
// has it.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/files.h"
#include "study/hotpot_commands.h"
#include "tasks/hotpot_world.h"
#include "tests/catch.h"
#include "tests/hotpot.h"
#include "tests/scratch.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

HotpotResult measured(const std::vector<HotpotExample>& examples, const HotpotOptions& o = {}, int threads = 2) {
    Workers workers(threads);
    return evaluate_hotpot(examples, o, workers, true);
}

// An example with these parts of the official layout.
std::string example(const std::string& context = R"([["T",["One."," Two."]],["U",["Three."]]])",
                    const std::string& facts = R"([["T",1],["U",0]])", const std::string& id = "a1") {
    return fmt::format(
        R"({{"_id":"{}","question":"Q?","answer":"A","type":"bridge","level":"easy","supporting_facts":{},"context":{}}})",
        id, facts, context);
}

std::string utf8(uint32_t c) {
    const auto byte = [](uint32_t b) { return static_cast<char>(b); };
    if (c < 0x80) return {byte(c)};
    if (c < 0x800) return {byte(0xC0 | c >> 6), byte(0x80 | (c & 63))};
    const std::string last{byte(0x80 | (c >> 6 & 63)), byte(0x80 | (c & 63))};
    if (c < 0x10000) return byte(0xE0 | c >> 12) + last;
    return std::string{byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 63))} + last;
}

// Path of the real file; "" if there is none.
std::string real_file() {
    const char* shared = std::getenv("FCI_SHARED");
    for (const std::string& folder : {std::string(shared ? shared : ""), std::string("../shared")})
        for (const char* below : {"/data/hotpotqa/", "/"})
            if (const std::string path = folder + below + "hotpot_dev_distractor_500.json";
                !folder.empty() && fs::exists(path))
                return path;
    return "";
}

double choose(int n, int k) {
    return k < 0 || k > n ? 0 : std::round(std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1)));
}

} // namespace

TEST_CASE("words: as Python's lower and split have them", "[hotpot]") {
    const auto words = [](std::string_view text, Tokeniser t = Tokeniser::whitespace) {
        WordReader reader(t);
        std::string all;
        for (reader.read(text); reader.next();) all += "[" + std::string(reader.word()) + "]";
        return all;
    };
    CHECK(words(" Don't\tSTOP\x1c"
                "me,\xC2\xA0now\xE2\x80\x89!\n") == "[don't][stop][me,][now][!]");
    CHECK(words("ÄÖÜ ŁÓDŹ ΑΒΓ ДОМ Ǆ ẞ 𐐀 ɑ") == "[äöü][łódź][αβγ][дом][ǆ][ß][𐐨][ɑ]");
    CHECK(words("İZ ΟΔΟΣ Σ ΣΑ") == "[i̇z][οδος][σ][σα]");
    CHECK(words("a\xFF"
                "B \xE2\x82") == "[a\xFF"
                                 "b][\xE2\x82]");
    CHECK(words("Don't: A–B «Ä9»", Tokeniser::letters) == "[don][t][a][b][ä9]");
    // Marks and apostrophes are skipped; a digit, a quotation mark and bytes that are not UTF-8 are not letters.
    CHECK(words("ΟΔΟΣ' ΟΔΟΣ'Α ΟΣ\u0301 ΟΣ\u0301Α Α\u0301Σ 'Σ 1Σ ΑΣ1 «ΑΣ» ª\u0301Σ \u00adΣ \u212aΣ") ==
          "[οδος'][οδοσ'α][ος\u0301][οσ\u0301α][α\u0301ς]['σ][1σ][ας1][«ας»][ª\u0301ς][\u00adσ][kς]");
    CHECK(words("\xC1Σ ΑΣ\xC1 Α\xB7Σ ΑΣ\xB7Α") == "[\xC1σ][ας\xC1][α\xB7σ][ας\xB7α]");
    CHECK(words("ΟΔΟΣ'Α ΟΣ.", Tokeniser::letters) == "[οδοσ][α][ος]");
    CHECK(words("").empty());
    CHECK(lower_case('Z') == 'z');
    CHECK(lower_case(0x1E921) == 0x1E943);
}

// Every character before, between and after capital letters with a sigma. Python 3.11's results, hashed by plane:
//   for t in (c+S, c+"A"+S, "A"+c+S, "A"+S+c, "A"+S+c+"A"): h = fnv1a(" ".join(t.lower().split()) + "\n"), S = "\u03a3"
TEST_CASE("words: all of Unicode beside a capital sigma is as Python's lower and split have it", "[hotpot]") {
    constexpr uint64_t of_plane[] = {0x2A1BD602E5B4C42B, 0x04FBDD02DCEC0E80, 0x88138DE0CE482125, 0xF91E9DC994DB9F25,
                                     0xC7D9F38FEBB6EF25, 0xB3772B080E1D8D25, 0xFDC2D3839C804125, 0xB2A15A99037FCB25,
                                     0x002ACA54BD55DB25, 0x0BAECEC4DC9CAB25, 0x2AA1ACAD5BAC8925, 0x9BB24A307A456B25,
                                     0x2591AC25CE84F525, 0xD29DBF83C111B125, 0x89736CEAF5F08BB5, 0x275411AEA5043725,
                                     0xBA344A3A9C3AE125};
    WordReader reader(Tokeniser::whitespace);
    for (uint32_t plane = 0; plane < std::size(of_plane); ++plane) {
        uint64_t hash = 0xCBF29CE484222325;
        const auto add = [&](std::string_view s) {
            for (const char b : s) hash = (hash ^ static_cast<unsigned char>(b)) * 0x100000001B3;
        };
        for (uint32_t code = plane << 16; code < (plane + 1) << 16; ++code) {
            if (code >= 0xD800 && code < 0xE000) continue;
            const std::string c = utf8(code);
            for (const std::string& text : {c + "Σ", c + "AΣ", "A" + c + "Σ", "AΣ" + c, "AΣ" + c + "A"}) {
                const char* before = "";
                for (reader.read(text); reader.next(); before = " ") add(before), add(reader.word());
                add("\n");
            }
        }
        INFO("plane " << plane);
        CHECK(hash == of_plane[plane]);
    }
}

TEST_CASE("bm25: the formulas, by hand", "[hotpot]") {
    // d0 = a a b, d1 = b c, d2 = b d d d; N 3, m 3
    const std::string_view documents[] = {"a a b", "b c", "b d d d"};
    const uint32_t begins[] = {0, 1, 2, 3};
    WordIndex x(Tokeniser::whitespace);
    x.build("A b a zebra d", documents, begins);
    CHECK(x.units_with(0) == 1);
    CHECK(x.query_words() == 4);
    CHECK(x.length(2) == 4);
    const auto g = [](double f, double length, double k1, double b) { return f / (f + k1 * (1 - b + b * length / 3)); };
    std::vector<double> s;
    bm25_scores(x, {}, s);
    const double rare = std::log(2.5) - std::log(1.5), common = std::log(0.5) - std::log(3.5);
    const double floor = 0.25 * (3 * rare + common) / 4; // over a, b, c, d
    CHECK(s[0] == Approx(2.5 * (2 * rare * g(2, 3, 1.5, 0.75) + floor * g(1, 3, 1.5, 0.75))));
    CHECK(s[1] == Approx(2.5 * floor * g(1, 2, 1.5, 0.75)));
    CHECK(s[2] == Approx(2.5 * (floor * g(1, 4, 1.5, 0.75) + rare * g(3, 4, 1.5, 0.75))));
    Bm25Options lucene;
    lucene.variant = "lucene", lucene.k1 = 1.2, lucene.b = 0.5;
    bm25_scores(x, lucene, s);
    const double l1 = std::log(1 + 2.5 / 1.5), l3 = std::log(1 + 0.5 / 3.5);
    CHECK(s[0] == Approx(2 * l1 * g(2, 3, 1.2, 0.5) + l3 * g(1, 3, 1.2, 0.5)));
    CHECK(s[1] == Approx(l3 * g(1, 2, 1.2, 0.5)));
    bloom_scores(x, 1, s, 1 << 16);
    CHECK(s == std::vector<double>{2, 1, 2});
    CHECK(best_units({1, 3, 3, 0}, 3) == std::vector<int>{1, 2, 0});
    CHECK(best_units({1, 1}, 5) == std::vector<int>{0, 1});
    const std::string_view nothing[] = {"", " "};
    x.build("a", nothing, std::vector<uint32_t>{0, 1, 2});
    bm25_scores(x, {}, s);
    CHECK(s == std::vector<double>{0, 0});
}

TEST_CASE("hotpotqa: what BM25 chooses is what the independent program chose", "[hotpot]") {
    const Scratch scratch;
    HotpotCommand c;
    c.data = "tests/golden/hotpotqa.json", c.per_example = scratch / "a.tsv", c.quiet = true;
    eval_hotpot(c);
    CHECK(read_file(c.per_example) == read_file("tests/golden/hotpotqa.tsv"));
}

TEST_CASE("hotpotqa: chance is the mean over all choices", "[hotpot]") {
    std::vector<HotpotExample> examples = made(6, 4);
    const HotpotFile lost = parsed("[" +
                                   example(R"([["T",["a","b","c"]],["U",["d"]],["V",["e","f"]]])",
                                           R"([["T",1],["T",1],["U",0],["V",1],["V",7]])") +
                                   "]");
    for (const char* unit : {"segments", "sentences", "paragraphs"})
        for (const int k : {1, 2, 3, 5})
            for (size_t e = 0; e <= examples.size(); ++e) {
                HotpotOptions o;
                o.unit = unit, o.top_k = k, o.segments = 5;
                const HotpotExample& x = e < examples.size() ? examples[e] : lost.examples[0];
                WordIndex scratch(Tokeniser::whitespace);
                HotpotFound f = find_hotpot(x, 0, o, scratch);
                const int N = static_cast<int>(f.begins.size()) - 1, chosen = static_cast<int>(f.chosen.size());
                REQUIRE(chosen == std::min(k, N));
                const HotpotMeasure m = measure_hotpot(x, f);
                const int G = static_cast<int>(f.correct.size());
                INFO(unit << " " << N << " units, " << G << " right, k " << k);
                CHECK(m.chance[0] == Approx(1 - choose(N - G, chosen) / choose(N, chosen)));
                CHECK(m.chance[1] == Approx(choose(N - G, chosen - G) / choose(N, chosen)).margin(1e-12));
                CHECK(m.chance[2] == Approx(double(chosen) / N));
                if (choose(N, chosen) > 20000) continue;
                std::array<double, 7> sum{}; // by enumeration
                double choices = 0;
                std::vector<char> taken(N, 0);
                std::fill(taken.begin(), taken.begin() + chosen, 1);
                do {
                    f.chosen.clear();
                    for (int u = 0; u < N; ++u)
                        if (taken[u]) f.chosen.push_back(u);
                    const HotpotMeasure one = measure_hotpot(x, f);
                    for (size_t i = 0; i < sum.size(); ++i) sum[i] += one.value[i];
                    ++choices;
                    if (choices > 300 && chosen > 3) break;
                } while (std::prev_permutation(taken.begin(), taken.end()));
                if (choices != choose(N, chosen)) continue;
                for (size_t i = 0; i < sum.size(); ++i) {
                    INFO(HotpotMeasure::names[i]);
                    CHECK(m.chance[i] == Approx(sum[i] / choices).margin(1e-12));
                }
            }
}

TEST_CASE("hotpotqa: where titles repeat, a sentence is its (title, index), as the official evaluation has it",
          "[hotpot]") {
    // Names of the sentences: A0 A1 | B0 | A0 A1 A2. Facts A0, B0.
    const HotpotFile file = parsed(
        "[" +
        example(R"([["A",["x","y"]],["B",["z"]],["A",["needle","u","v"]]])", R"([["A",0],["B",0]])", "a\\tb\\\\") +
        "]");
    const HotpotExample& x = file.examples[0];
    CHECK(x.supporting == std::vector<uint32_t>{0, 2, 3});
    CHECK(file.lost_facts == 0);
    HotpotFound f;
    f.begins = {0, 1, 2, 3, 4, 5, 6}, f.chosen = {3, 2}, f.correct = {0, 2, 3};
    const auto value = [&] { return measure_hotpot(x, f).value; };
    CHECK(value() == std::array<double, 7>{1, 1, 2 / 3., 1, 1, 1, 1});
    f.chosen = {0, 3};
    CHECK(value()[3] == 1);   // fact_precision: one sentence was named, twice
    CHECK(value()[4] == 0.5); // fact_recall
    CHECK(value()[1] == 0);
    // Chance is the mean over all choices, by enumeration.
    for (const std::vector<uint32_t>& begins :
         {std::vector<uint32_t>{0, 1, 2, 3, 4, 5, 6}, {0, 2, 3, 6}, {0, 1, 3, 5, 6}})
        for (uint32_t k = 1; k < begins.size(); ++k) {
            f.begins = begins, f.correct.clear(), f.chosen.assign(k, 0);
            std::iota(f.chosen.begin(), f.chosen.end(), 0);
            for (int u = 0; u + 1 < static_cast<int>(begins.size()); ++u)
                if (std::any_of(x.supporting.begin(), x.supporting.end(),
                                [&](uint32_t s) { return s >= begins[u] && s < begins[u + 1]; }))
                    f.correct.push_back(u);
            const auto chance = measure_hotpot(x, f).chance;
            std::array<double, 7> mean{};
            double choices = 0;
            for (uint32_t subset = 0; subset < 1u << (begins.size() - 1); ++subset) {
                f.chosen.clear();
                for (int u = 0; u + 1 < static_cast<int>(begins.size()); ++u)
                    if (subset >> u & 1) f.chosen.push_back(u);
                if (f.chosen.size() != k) continue;
                const auto v = value();
                for (size_t m = 0; m < v.size(); ++m) mean[m] += v[m];
                ++choices;
            }
            for (size_t m = 0; m < mean.size(); ++m) CHECK(chance[m] == Approx(mean[m] / choices).margin(1e-12));
        }
    // More than are listed: still shares.
    HotpotExample many;
    for (uint32_t i = 0; i < 40; ++i) many.sentences.push_back("s"), many.paragraphs.push_back({"t", i, i + 1});
    many.facts = {{"t", 0}};
    many.settle();
    HotpotOptions o;
    o.unit = "sentences";
    WordIndex scratch(Tokeniser::whitespace);
    for (const double c : measure_hotpot(many, find_hotpot(many, 0, o, scratch)).chance) CHECK((c >= 0 && c <= 1));
    // The table of examples: the id as one cell, and what the facts say.
    const Scratch folder;
    save_hotpot(folder / "a.json", file.examples);
    HotpotCommand c;
    c.data = folder / "a.json", c.per_example = folder / "a.tsv", c.quiet = true;
    c.options.unit = "sentences", c.options.method = "random";
    c.options.top_k = 6;
    eval_hotpot(c);
    CHECK(read_file(c.per_example).find("\na\\tb\\\\\t") != std::string::npos);
    CHECK(read_file(c.per_example).ends_with("\t0,2,3\t1\t1\n"));
}

TEST_CASE("hotpotqa: chance is a number where the choices are more than a double can count", "[hotpot]") {
    HotpotExample x;
    const uint32_t n = 46500;
    x.question = "q", x.sentences.assign(n, "s"), x.paragraphs = {{"t", 0, n}}, x.facts = {{"t", 7}, {"t", 40000}};
    x.settle();
    HotpotFound found;
    for (uint32_t i = 0; i <= n; ++i) found.begins.push_back(i);
    for (int i = 0; i < 100; ++i) found.chosen.push_back(i);
    found.correct = {7, 40000};
    const auto chance = measure_hotpot(x, found).chance;
    const double one = 100. / n, both = one * 99 / (n - 1);
    CHECK(chance[0] == Approx(2 * one - both)); // any
    CHECK(chance[1] == Approx(both));           // all
    CHECK(chance[4] == Approx(one));            // fact_recall
}

TEST_CASE("hotpotqa: measures as the official evaluation has them", "[hotpot]") {
    // Facts: sentences 1, 3, 5 and one that does not exist. Paragraphs 0 and 2 are chosen: sentences 0 1 2 4 5, two of
    // them correct.
    const HotpotFile file = parsed("[" +
                                   example(R"([["T",["a","b","c"]],["U",["d"]],["V",["e","f"]]])",
                                           R"([["T",1],["T",1],["U",0],["V",1],["V",7]])") +
                                   "]");
    HotpotFound f;
    f.begins = {0, 3, 4, 6}, f.chosen = {0, 2}, f.correct = {0, 1, 2};
    const std::array<double, 7> v = measure_hotpot(file.examples[0], f).value;
    CHECK(v[0] == 1);
    CHECK(v[1] == 0);
    CHECK(v[2] == Approx(2 / 3.0));
    CHECK(v[3] == Approx(2 / 5.0));
    CHECK(v[4] == Approx(2 / 4.0));
    CHECK(v[5] == Approx(2 * 0.4 * 0.5 / 0.9));
    CHECK(v[6] == 0);
}

TEST_CASE("hotpotqa: the same numbers for any number of threads", "[hotpot][threads]") {
    const std::vector<HotpotExample> examples = made(300);
    const auto numbers = [&](int threads) {
        const HotpotResult r = measured(examples, {}, threads);
        std::vector<double> all;
        for (const auto& x : r.numbers) all.insert(all.end(), {x.value, x.low, x.high, x.chance});
        return all;
    };
    CHECK(numbers(1) == numbers(3));
}

TEST_CASE("hotpotqa: random choice comes to chance, and the interval holds it", "[hotpot]") {
    HotpotOptions o;
    o.method = "random";
    const HotpotResult r = measured(made(4000, 3), o);
    for (size_t i = 0; i < r.numbers.size(); ++i) { // 3 of the interval's half widths
        const auto& x = r.numbers[i];
        INFO(HotpotMeasure::names[i] << " " << x.value << " chance " << x.chance);
        CHECK(std::abs(x.value - x.chance) <= 1.5 * (x.high - x.low));
    }
    o.seed = 2;
    CHECK(measured(made(400, 3), o).found[7].chosen != r.found[7].chosen);
    o.method = "bm25";
    CHECK(measured(made(400, 3), o).numbers[0].low > r.numbers[0].high);
}

TEST_CASE("hotpotqa: short examples and those without support are left out and counted", "[hotpot]") {
    std::vector<HotpotExample> examples = made(3);
    for (const std::string& text : {example(), example(R"([["T",["s"]]])", R"([["T",1]])")})
        examples.push_back(std::move(parsed("[" + text + "]").examples[0]));
    const HotpotResult r = measured(examples);
    CHECK(r.examples == 3);
    CHECK(r.too_short == 1);
    CHECK(r.without_support == 1);
    HotpotOptions o;
    o.unit = "paragraphs";
    CHECK(measured(examples, o).examples == 4);
    examples.erase(examples.begin(), examples.begin() + 3);
    expect_error(error_of([&] { measured(examples); }), Exit::bad_data, "no example can be measured");
}

TEST_CASE("hotpotqa: the paper's protocol on real examples", "[hotpot]") {
    const std::string path = real_file();
    if (path.empty()) {
        WARN("SKIPPED: hotpot_dev_distractor_500.json is neither under FCI_SHARED nor in ../shared");
        return;
    }
    Workers workers(2);
    const HotpotFile file = load_hotpot(path, workers);
    CHECK(hotpot_json(file.examples) == read_file(path)); // this copy has the form that fci writes
    const HotpotResult r = measured(file.examples);
    CHECK(r.examples == 495); // tools/hotpot_bm25.py says the same
    CHECK(r.too_short == 5);
    CHECK(r.numbers[0].value == Approx(81.6162).margin(1e-4));
    CHECK(r.numbers[0].chance == Approx(26.4024).margin(1e-4));
    CHECK(r.numbers[1].value == Approx(13.5354).margin(1e-4));
}
