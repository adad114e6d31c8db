// HotpotQA: reading, writing and generating it. tests/golden/hotpotqa.json is 12 generated examples.
#include <algorithm>

#include "core/files.h"
#include "core/words.h"
#include "tasks/hotpot_world.h"
#include "tests/catch.h"
#include "tests/hotpot.h"
#include "tests/scratch.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

const std::string golden = "tests/golden/hotpotqa.json";

// An example with these parts of the official layout.
std::string example(const std::string& context = R"([["T",["One."," Two."]],["U",["Three."]]])",
                    const std::string& facts = R"([["T",1],["U",0]])", const std::string& id = "a1") {
    return fmt::format(
        R"({{"_id":"{}","question":"Q?","answer":"A","type":"bridge","level":"easy","supporting_facts":{},"context":{}}})",
        id, facts, context);
}

void expect_refused(const std::string& text, const std::string& part) {
    INFO("text: " << text.substr(0, 200));
    expect_error(error_of([&] { parsed(text); }), Exit::bad_data, part);
}

// The same examples in the columnar layout.
std::string columnar(const std::vector<HotpotExample>& examples, const char* between) {
    std::string all;
    for (const HotpotExample& x : examples) {
        std::string titles, sentences, fact_titles, indices;
        for (const auto& p : x.paragraphs) {
            titles += (titles.empty() ? "\"" : ",\"") + std::string(p.title) + "\"";
            sentences += sentences.empty() ? "[" : ",[";
            for (uint32_t s = p.begin; s < p.end; ++s) {
                HotpotExample one; // to escape one string
                one.id = x.sentences[s];
                one.settle();
                const std::string json = hotpot_json({&one, 1}), key = "[{\"_id\":";
                sentences +=
                    (s == p.begin ? "" : ",") + json.substr(key.size(), json.find(",\"question\"") - key.size());
            }
            sentences += "]";
        }
        for (const auto& f : x.facts) {
            fact_titles += (fact_titles.empty() ? "\"" : ",\"") + std::string(f.title) + "\"";
            indices += fmt::format("{}{}", indices.empty() ? "" : ",", f.index);
        }
        all += (all.empty() ? "" : between) +
               fmt::format(R"({{"id":"{}","question":"{}","answer":"{}","type":"{}","level":"{}",)", x.id, x.question,
                           x.answer, x.type, x.level) +
               fmt::format(R"("supporting_facts":{{"title":[{}],"sent_id":[{}]}},)", fact_titles, indices) +
               fmt::format(R"("context":{{"title":[{}],"sentences":[{}]}}}})", titles, sentences);
    }
    return all;
}

} // namespace

TEST_CASE("hotpotqa: the golden file is what is generated, and survives load and save byte for byte", "[hotpot]") {
    Workers workers(2);
    const HotpotFile file = load_hotpot(golden, workers);
    const Scratch scratch;
    save_hotpot(scratch / "a.json", file.examples);
    const std::string text = read_file(golden);
    CHECK(read_file(scratch / "a.json") == text);
    CHECK(hotpot_json(made(12, 5)) == text);
    CHECK(file.malformed == 0);
    CHECK(file.lost_facts == 0);
}

TEST_CASE("hotpotqa: text, numbers and keys come through as they are", "[hotpot]") {
    const std::string odd = "\\\"q\\\\ \\u0001\\u001f\\n\\t\\b\\f\\r \x7f é 漢 😀";
    const std::string text = "[" +
                             example("[[\"" + odd + "\",[\"" + odd + "\",\"\"]],[\"\",[\" \"]]]",
                                     "[[\"" + odd + "\",0],[\"no\",-7],[\"no\",9007199254740993]]") +
                             "]";
    const HotpotFile file = parsed(text);
    REQUIRE(file.examples.size() == 1);
    CHECK(hotpot_json(file.examples) == text);
    CHECK(file.examples[0].sentences[0] == "\"q\\ \x01\x1f\n\t\b\f\r \x7f é 漢 😀");
    CHECK(file.examples[0].supporting == std::vector<uint32_t>{0});
    CHECK(file.examples[0].distinct_facts() == 3);
    CHECK(file.lost_facts == 2);
    // Escapes of other writers, white space, unknown keys and a byte order mark are read, and written in plain form.
    const std::string other = "\xEF\xBB\xBF [ {\"x\":{\"y\":[1,\"]}\\\\\"]},\"level\":\"\\u00e9\\/\\ud83d\\ude00\", " +
                              example().substr(1, example().find(",\"level\"") - 1) +
                              example().substr(example().find(",\"supporting")) + " ]\n";
    CHECK(parsed(other).examples[0].level == "é/😀");
}

TEST_CASE("hotpotqa: the official, the columnar layout and JSON Lines say the same", "[hotpot]") {
    const std::vector<HotpotExample> examples = made(40);
    const std::string official = hotpot_json(examples);
    CHECK(hotpot_json(parsed("[" + columnar(examples, ",") + "]").examples) == official);
    CHECK(hotpot_json(parsed(columnar(examples, "\n\n  \r\n") + "\n").examples) == official);
    CHECK(hotpot_json(parsed(columnar(examples, "\n")).examples) == official);
    std::string lines;
    for (const HotpotExample& x : examples) {
        const std::string one = hotpot_json({&x, 1});
        lines += one.substr(1, one.size() - 2) + "\n";
    }
    CHECK(hotpot_json(parsed(lines).examples) == official);
    CHECK(parsed(lines, 1).hash == parsed(lines, 3).hash);
    CHECK(parsed(lines).hash != parsed(lines + example()).hash);
}

TEST_CASE("hotpotqa: what nobody uses may be anything, and Python's JSON is read", "[hotpot]") {
    const std::string rest = example().substr(example().find("\"supporting"));
    const auto read = [&](const std::string& keys) {
        INFO(keys);
        const HotpotFile file = parsed("[{" + keys + "," + rest + "]");
        REQUIRE(file.malformed == 0);
        return parsed(hotpot_json(file.examples)).examples[0].id == file.examples[0].id
                   ? std::string(file.examples[0].id) + "|" + std::string(file.examples[0].question)
                   : "not saved";
    };
    const std::string q = "\"question\":\"Q\"";
    CHECK(read(q) == "|Q");
    CHECK(read(q + ",\"_id\":\"a\",\"id\":\"b\"") == "a|Q");
    CHECK(read(q + ",\"id\":\"b\",\"_id\":null") == "b|Q");
    CHECK(read(q + ",\"id\":17") == "17|Q");
    for (const char* value : {"null", "NaN", "-Infinity", "1e999", "-1e999", "7", "[]", "{\"a\":[NaN, 1]}",
                              "\"\\ud83d\"", "1000000000000000000000000000000", "\"\\ude00\\ud83d\\\"\"", "0.5"})
        for (const char* key : {"answer", "level", "type", "evidences"})
            CHECK(read(q + fmt::format(",\"{}\":{}", key, value)) == "|Q");
    // Halves of surrogate pairs, a pair, and backslashes before a u that is not an escape.
    CHECK(read("\"x\":NaN,\"question\":\"NaN 1e999 \\ud83d \\uDE00! \\ud83d\\ude00 \\\\ud83d \\\"\"") ==
          "|NaN 1e999 \xEF\xBF\xBD \xEF\xBF\xBD! \xF0\x9F\x98\x80 \\ud83d \"");
    const std::string wrong = example(R"([["T",["s"]]])", R"([["T",1000000000000000000000]])");
    expect_refused("[" + wrong + "]", "supporting_facts 0: the index is not an integer");
    // Paragraphs without sentences.
    const HotpotFile empty = parsed("[" + example(R"([["E",[]],["T",["a","b"]],["F",[]]])") + "]");
    REQUIRE(empty.examples.size() == 1);
    CHECK(empty.examples[0].supporting == std::vector<uint32_t>{1});
    CHECK(parsed(hotpot_json(empty.examples)).examples[0].paragraphs.size() == 3);
}

TEST_CASE("hotpotqa: indented objects, and byte order marks where files were put together", "[hotpot]") {
    std::string indented = example();
    for (size_t at = 0; (at = indented.find("\",", at)) != std::string::npos; at += 3) indented.insert(at + 2, "\n  ");
    indented.insert(1, "\n  ");
    CHECK(parsed(indented).examples.size() == 1);
    CHECK(parsed(indented.substr(0, 1) + indented.substr(4) + "\n").examples.size() == 1);
    CHECK(parsed(indented + "\n\xEF\xBB\xBF" + indented).examples.size() == 2);
    CHECK(parsed(example() + "\n\xEF\xBB\xBF" + example() + "\n\n").examples.size() == 2);
    expect_refused(indented.substr(0, 30), "the file ends at byte 30, within example 0");
    expect_refused(indented + "\nx", "'{' of an example");
    const HotpotFile damaged = parsed(example().substr(0, 20) + "\n" + example() + "\n");
    CHECK(damaged.malformed == 1);
    CHECK(damaged.examples.size() == 1);
}

TEST_CASE("hotpotqa: malformed examples are reported by index, id and byte, and skipped", "[hotpot]") {
    const std::string good = example();
    const auto without = [&](const std::string& key) { // under another name
        std::string s = good;
        return s.replace(s.find(key), key.size(), "\"other\"");
    };
    const struct {
        std::string text, what;
    } bad[] = {{example("[]"), "the context is empty"},
               {example(R"([["T",[]]])"), "no paragraph of the context has a sentence"},
               {example(R"([["T",["s"]],["U"]])"), "context: an entry has 1 values, not 2"},
               {example(R"([["T","s"]])"), "context 0: sentences is not an array"},
               {example(R"([["T",["s",1]]])"), "context 0: sentence 1 is not a string"},
               {example(R"([[1,["s"]]])"), "context 0: the title is not a string"},
               {example("3"), "context is not an array"},
               {example(R"({"title":["T"]})"), "context: there is no \"sentences\""},
               {example(R"({"title":["T"],"sentences":[]})"), "context: 1 of \"title\" and 0 of \"sentences\""},
               {example(R"([["T",["s"]]])", R"([["T","0"]])"), "supporting_facts 0: the index is not an integer"},
               {example(R"([["T",["s"]]])", R"([["T",0.5]])"), "supporting_facts 0: the index is not an integer"},
               {example(R"([["T",["s"]]])", R"({"title":["T"],"sent_id":[]})"), "1 of \"title\" and 0 of \"sent_id\""},
               {without("\"question\""), "there is no \"question\""},
               {without("\"supporting_facts\""), "there is no \"supporting_facts\""},
               {"{\"type\":\"x\"," + good.substr(1), "\"type\" appears twice"},
               {"7", "the example is not an object"},
               {"\"word\"", "the example is not an object"},
               {"null", "the example is not an object"},
               {"[1,[2]]", "the example is not an object"},
               {"nonsense", "the example is not an object"},
               {"{\"_id\":\"a1\" \"question\":1}", "not JSON"},
               {example("[[\"T\",[\"\\x\"]]]"), "not JSON"}};
    for (const auto& [text, what] : bad) {
        INFO(text);
        const HotpotFile file = parsed("[" + good + ", " + text + "," + good + "]");
        CHECK(file.examples.size() == 2);
        CHECK(file.malformed == 1);
        REQUIRE(file.problems.size() == 1);
        CHECK(file.problems[0].index == 1);
        CHECK(file.problems[0].id == (text.find("\"_id\"") == std::string::npos ? "" : "a1"));
        CHECK(file.problems[0].offset == good.size() + 3);
        CHECK(file.problems[0].what.find(what) != std::string::npos);
        expect_refused("[" + text + "]", "none of its 1 examples can be used; the first, at byte 1");
        if (text.find_first_of("{") == 0) { // as one line
            CHECK(parsed(good + "\n" + text + "\n" + good).malformed == 1);
            expect_refused(text + "\n", what);
        }
    }
    for (const std::string invalid : {"\xFF", "\xC3(", "\xED\xA0\x80", "\xC0\xAF", "\xF5\x80\x80\x80", "\xE2\x82"}) {
        const std::string text = "[" + good + "," + example("[[\"T\",[\"abc" + invalid + "\"]]]", "[]", "b2") + "]";
        const HotpotFile file = parsed(text);
        REQUIRE(file.problems.size() == 1);
        CHECK(file.problems[0].what == "not UTF-8");
        CHECK(file.problems[0].offset == text.find("abc") + 3);
        CHECK(file.problems[0].id == "b2");
    }
    // All are counted, some are kept.
    std::string many = "[" + good;
    for (int i = 0; i < 20000; ++i) many += ",1";
    const HotpotFile file = parsed(many + "]");
    CHECK(file.malformed == 20000);
    CHECK(file.problems.size() == HotpotFile::most_listed);
}

TEST_CASE("hotpotqa: a file that is not one is refused with the byte", "[hotpot]") {
    const std::string good = example(), file = "[" + good + "," + good + "]";
    expect_refused("", "the file is empty");
    expect_refused(" \n\t", "the file is empty");
    expect_refused("[]", "there are no examples in it");
    expect_refused("  <html>", "at byte 2: not a HotpotQA file");
    expect_refused("\x1f\x8b\x08", "is compressed by gzip: decompress it first (gunzip -k FILE)");
    expect_refused("BZh9", "is compressed by bzip2");
    expect_refused("\xFD\x37zXZ", "is compressed by xz");
    expect_refused("\x28\xB5\x2F\xFD", "is compressed by zstd");
    expect_refused("PK\x03\x04", "is compressed by zip");
    expect_refused("PAR1\x15", "is a Parquet file: convert it to JSON Lines first");
    expect_refused("{\"n\":1,\"data\":[" + good + "]}",
                   "the examples are within \"data\": write them to a separate file, e.g. with jq -c '.[\"data\"][]'");
    expect_refused("{\n\"rows\":[{\"row_idx\":0,\n\"row\":" + good + "}]}", "with jq -c '.[\"rows\"][].row'");
    expect_refused("[" + good + " " + good + "]", fmt::format("at byte {}: ',' or ']'", good.size() + 2));
    expect_refused("[" + good + ",]", fmt::format("at byte {}: an example", good.size() + 2));
    expect_refused("[," + good + "]", "at byte 1: an example");
    expect_refused(file + "]", fmt::format("at byte {}: the end of the file", file.size()));
    expect_refused("[{\"a\":[1}]", "at byte 8: ']' is expected here, not '}'");
    expect_refused("[" + std::string(2000, '['), "at byte 1025: brackets are nested more than 1024 deep");
    for (size_t n = 1; n < file.size(); ++n) { // truncated at any byte
        INFO(n);
        expect_refused(file.substr(0, n), fmt::format("the file ends at byte {}", n));
    }
    const std::string lines = good + "\n" + good;
    for (size_t n = good.size() + 2; n < lines.size(); ++n)
        expect_refused(
            lines.substr(0, n),
            fmt::format("the file ends at byte {} within line 2, which begins at byte {}", n, good.size() + 1));
    Workers one(1);
    const Scratch scratch;
    expect_error(error_of([&] { load_hotpot(scratch / "no", one); }), Exit::bad_data, "cannot be read: No such file");
    expect_error(error_of([&] { load_hotpot(scratch.path, one); }), Exit::bad_data, "it is not a file but a folder");
    REQUIRE(::mkfifo((scratch / "pipe").c_str(), 0600) == 0);
    expect_error(error_of([&] { load_hotpot(scratch / "pipe", one); }), Exit::bad_data,
                 "it is not a file but a folder");
}

TEST_CASE("hotpotqa: an example over 64 MB is refused, unread", "[hotpot]") {
    const std::string long_text(largest_hotpot_example + 100, 'x');
    const std::string huge = "[[\"T\",[\"" + long_text + "\"]]]";
    expect_refused("[" + example() + "," + example(huge) + "]",
                   fmt::format("example 1, at byte {}, is larger than 64 MB", example().size() + 2));
    expect_refused(example() + "\n" + example(huge),
                   fmt::format("example 1, at byte {}, is larger than 64 MB", example().size() + 1));
    expect_refused("[" + std::string(largest_hotpot_example + 100, '1') + "]", "example 0, at byte 1, is larger");
}

TEST_CASE("hotpotqa: many sizes of files and threads give the same examples", "[hotpot][threads]") {
    const std::vector<HotpotExample> examples = made(300);
    const std::string text = hotpot_json(examples);
    CHECK(hotpot_json(parsed(text, 1).examples) == text);
    CHECK(hotpot_json(parsed(text, 4).examples) == text);
    CHECK(hotpot_json(made(300, 1, 1)) == text);
    CHECK(hotpot_json(made(300, 2)) != text);
}

TEST_CASE("hotpotqa: generated examples are what they should be", "[hotpot]") {
    const std::vector<HotpotExample> examples = made(500, 9);
    std::set<std::string_view> ids;
    int comparisons = 0, facts = 0;
    double sentences = 0;
    WordReader reader(Tokeniser::letters);
    const auto words = [&](std::string_view text) {
        static const std::set<std::string> common = {"which", "were", "both", "first", "given", "born", "earlier"};
        std::set<std::string> all;
        for (reader.read(text); reader.next();)
            if (reader.word().size() > 3 && !common.contains(std::string(reader.word()))) all.emplace(reader.word());
        return all;
    };
    for (const HotpotExample& x : examples) {
        INFO(hotpot_json({&x, 1}));
        CHECK(ids.insert(x.id).second);
        CHECK(is_generated(x));
        REQUIRE(x.paragraphs.size() == 10);
        CHECK(x.lost_facts() == 0);
        std::set<std::string_view> titles, needed;
        for (const auto& f : x.facts) needed.insert(f.title);
        for (const auto& p : x.paragraphs) titles.insert(p.title);
        CHECK(titles.size() == 10);
        CHECK(needed.size() == 2);
        const std::set<std::string> asked = words(x.question);
        for (const auto& p : x.paragraphs) {
            std::string text(p.title);
            for (uint32_t s = p.begin; s < p.end; ++s) text.append(" ").append(x.sentences[s]);
            const std::set<std::string> held = words(text);
            if (!needed.contains(p.title))
                CHECK(std::any_of(asked.begin(), asked.end(), [&](const auto& w) { return held.contains(w); }));
        }
        bool answered = x.answer == "yes" || x.answer == "no";
        for (const uint32_t s : x.supporting) answered |= x.sentences[s].find(x.answer) != std::string_view::npos;
        CHECK(answered);
        comparisons += x.type == "comparison", facts += static_cast<int>(x.facts.size());
        sentences += static_cast<double>(x.sentences.size());
    }
    CHECK(sentences / 500 == Approx(42).margin(3)); // real: 42.4
    CHECK((comparisons > 60 && comparisons < 140)); // real: a fifth
    CHECK((facts > 1000 && facts < 1500));
}
