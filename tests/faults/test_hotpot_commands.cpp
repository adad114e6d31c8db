// fci eval, show, generate and reproduce on HotpotQA, as people use them.
#include <simdjson.h>

#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

const std::string golden = "tests/golden/hotpotqa.json";
const Words eval = {"eval", "--task", "hotpotqa", "--data"};

std::string with_text(const Scratch& scratch, const std::string& name, const std::string& text) {
    write_file_atomically(scratch / name, text);
    return scratch / name;
}

double number(simdjson::dom::element json, const std::string& pointer) {
    double x = -1;
    INFO(pointer);
    REQUIRE(json.at_pointer(pointer).get(x) == simdjson::SUCCESS);
    return x;
}

} // namespace

TEST_CASE("cli: hotpotqa is generated, shown and measured", "[cli][hotpot]") {
    const Scratch scratch;
    const std::string file = scratch / "a.json";
    const Words make = {"generate", "--task", "hotpotqa", "--sequences", "12", "--seed", "5", "--out", file};
    expect_ran(run(make), 0, "12 examples, generated");
    CHECK(read_file(file) == read_file(golden));
    expect_refused(run(make), 2, file + ": already exists");
    expect_ran(run({"generate", "--task", "hotpotqa", "--split", "test", "--test-sequences", "3", "--out",
                    scratch / "test.json"}),
               0, "3 examples");
    CHECK(read_file(scratch / "test.json").find("\"generated-0-2-2\"") != std::string::npos);

    const Ran table = run(eval + Words{file, "--per-example", scratch / "a.tsv"});
    expect_ran(table, 0, "bm25: 12 examples of " + file);
    CHECK(read_file(scratch / "a.tsv") == read_file("tests/golden/hotpotqa.tsv"));
    for (const char* what : {"any", "all", "recall", "fact_precision", "fact_recall", "fact_f1", "fact_em"})
        CHECK(table.out.find(fmt::format("\n{} ", what)) != std::string::npos);

    for (const char* method : {"bm25", "bloom", "random"})
        for (const char* unit : {"segments", "sentences", "paragraphs"}) {
            INFO(method << " " << unit);
            const Ran r = run(eval + Words{file, "--method", method, "--unit", unit, "--json"});
            expect_ran(r, 0);
            simdjson::dom::parser parser;
            const simdjson::dom::element json = parser.parse(r.out);
            CHECK(number(json, "/n") == 12);
            for (const char* what : {"/any", "/all", "/recall", "/fact_f1"}) {
                const std::string at = what;
                CHECK(number(json, at + "/low") <= number(json, at + "/value"));
                CHECK(number(json, at + "/high") >= number(json, at + "/value"));
                CHECK(number(json, at + "/chance") >= 0);
            }
            CHECK(number(json, "/skipped/malformed") == 0);
        }
    CHECK(run(eval + Words{file}).out != run(eval + Words{file, "--bm25", "lucene"}).out);
    CHECK(run(eval + Words{file}).out != run(eval + Words{file, "--tokeniser", "letters"}).out);

    const Ran picture = run({"show", "--task", "hotpotqa", "--data", file});
    expect_ran(picture, 0, "bm25 chose segments ");
    CHECK(picture.out.find("question  ") != std::string::npos);
    CHECK(picture.out.find("#2") != std::string::npos);
    CHECK(picture.out.find("  * ") != std::string::npos);
    CHECK(picture.out.find("Example 2") == std::string::npos);
    CHECK(picture.out.find('\x1b') == std::string::npos);
    expect_ran(run({"show", "--task", "hotpotqa", "--seed", "5", "--count", "2"}), 0,
               "Example 2 generated from seed 5");
}

TEST_CASE("cli: hotpotqa: what cannot be used is refused, what can is reported", "[cli][hotpot]") {
    const Scratch scratch;
    const std::string text = read_file(golden);
    const struct {
        std::string bytes, message;
    } bad[] = {{"", "the file is empty"},
               {text.substr(0, 20000), "the file ends at byte 20000, within example"},
               {"<html>", "at byte 0: not a HotpotQA file"},
               {"[1,2]", "none of its 2 examples can be used; the first, at byte 1: the example is not an object"},
               {"[{\"_id\":\"x\",\"context\":[]}]", "at byte 1, id x: the context is empty"},
               {"[{\"_id\":\"x\",\"a\":\"\xFF\"}]", "at byte 17, id x: not UTF-8"}};
    for (const auto& [bytes, message] : bad) {
        INFO(message);
        const std::string path = with_text(scratch, "bad.json", bytes);
        expect_refused(run(eval + Words{path}), 3, path + ": ");
        expect_refused(run(eval + Words{path}), 3, message);
        expect_refused(run({"show", "--task", "hotpotqa", "--data", path}), 3, message);
        expect_refused(run({"reproduce", "t1.bm25", "--data", path}), 3, message);
    }
    std::string damaged = text;
    damaged.replace(damaged.find("\"question\":\""), 12, "\"question\":7,\"x\":\"");
    const Ran some = run(eval + Words{with_text(scratch, "some\x1b[2J.json", damaged)});
    expect_ran(some, 0, "11 examples");
    CHECK(some.err.find("some\\x1b[2J.json: example 0 (id generated-5-1-0), at byte 1: \"question\" is not a") !=
          std::string::npos);
    CHECK(some.err.find("1 malformed example skipped, 11 read") != std::string::npos);
    std::string lost = text;
    lost.replace(lost.find("\"supporting_facts\":[["), 21, "\"supporting_facts\":[[\"nowhere\",0],[");
    expect_ran(run(eval + Words{with_text(scratch, "lost.json", lost)}), 0, "1 supporting fact names no sentence");

    expect_refused(run(eval + Words{"/nowhere"}), 3, "/nowhere: cannot be read");
    expect_refused(run(eval + Words{golden, "--method", "bm26"}), 2, "did you mean 'bm25'?");
    expect_refused(run(eval + Words{golden, "--top-k", "17"}), 2, "--top-k 17 is more than the 16 segments");
    expect_refused(run(eval + Words{golden, "--b", "2"}), 2, "--b 2 must be from 0 to 1");
    expect_refused(run({"eval", "--task", "hotpotqa"}), 2, "--data FILE is needed");
    expect_refused(run({"eval", "a", "--task", "hotpotqa"}), 2, "an index has no checkpoint");
    expect_refused(run({"eval", "a", "--method", "bm25"}), 2, "--method belongs to --task hotpotqa");
    expect_refused(run({"show", "--unit", "segments"}), 2, "--unit belongs to --task hotpotqa");
    expect_refused(run({"show", "--task", "hotpotqa", "--pairs", "4"}), 2, "--pairs 4 would do nothing");
    expect_refused(run({"show", "--task", "hotpotqa", "--method", "bloom", "--k1", "2"}), 2, "--k1 would do nothing");
    expect_refused(run(eval + Words{golden, "--method", "random", "--tokeniser", "letters"}), 2,
                   "--tokeniser would do nothing with --method random");
    expect_refused(run({"generate", "--task", "hotpotqa"}), 2, "--out FILE.json is needed");
    const Words train = {"train", "--task", "hotpotqa", "--out", scratch / "run"};
    expect_refused(run(train + Words{"--router", "bloom"}), 2, "--router bloom: hotpotqa has several right positions");
    expect_refused(run(train + Words{"--router", "none"}), 2, "--router none: hotpotqa has several right positions");
    expect_refused(run(train + Words{"--data", "/nowhere"}), 3, "/nowhere: cannot be read");
    expect_refused(run(train + Words{"--pairs", "4"}), 2, "--pairs 4 belongs to --task mqar");
    expect_refused(run(train + Words{"--data", golden, "--length", "8"}), 3, "none of its 12 examples has");
    expect_refused(run({"train", "--data", golden, "--out", scratch / "run"}), 3, "needs --task hotpotqa");
    expect_refused(run({"reproduce", "t1.raw", "--data", golden}), 2, "none of these rows is on HotpotQA");
    CHECK_FALSE(fs::exists(scratch / "run"));
}

TEST_CASE("cli: a router is trained on text, measured on a file, and shown", "[cli][hotpot]") {
    const Scratch scratch;
    const std::string folder = scratch / "run", checkpoint = folder + "/checkpoint.safetensors";
    const Words size = {"--length", "128", "--vocab", "256", "--d-model", "16", "--heads", "2", "--batch", "8"};
    const Ran trained = run(Words{"train", "--task", "hotpotqa", "--sequences", "16", "--test-sequences", "10",
                                  "--epochs", "2", "--threads", "1", "--json", "--out", folder} +
                            size);
    expect_ran(trained, 0, "\"routing_all\":");
    CHECK(trained.out.find("accuracy") == std::string::npos); // there is no answer token
    CHECK(trained.err.find("training set, length 128: ") != std::string::npos);
    const Ran measured = run({"eval", "--checkpoint", checkpoint, "--data", golden});
    expect_ran(measured, 0, " of 12 examples left out, because no supporting sentence starts before the cut");
    CHECK(measured.out.find("test sequences of " + golden) != std::string::npos);
    CHECK(measured.out.find("  all ") != std::string::npos);
    expect_ran(run({"eval", checkpoint}), 0, "10 test sequences");
    expect_ran(run({"eval", checkpoint, "--data", golden, "--json"}), 0, "\"left_out\":");
    const Ran shown = run({"show", "--checkpoint", checkpoint, "--count", "2"});
    expect_ran(shown, 0, "from the separator at ");
    CHECK(shown.out.find("Test example 2: id generated-0-2-") != std::string::npos);
    CHECK(shown.out.find("  * ") != std::string::npos);
    CHECK(shown.out.find("after the cut at 128") != std::string::npos);
    expect_ran(run({"analyze", checkpoint, "--sequences", "1"}), 0, "effective rank");

    // On a file that is split, the held-out part is shown.
    const Ran split = run(Words{"train", "--task", "hotpotqa", "--data", golden, "--epochs", "1", "--threads", "1",
                                "--out", scratch / "split"} +
                          Words{"--length", "700", "--batch", "8", "--d-model", "16", "--heads", "2"});
    expect_ran(split, 0, "10 sequences");
    expect_ran(run({"show", "--checkpoint", scratch / "split/checkpoint.safetensors", "--count", "1"}), 0,
               "Test example 1: id generated-5-1-10");
    expect_ran(run({"train", "--resume", scratch / "split"}), 0, "done in");
}

TEST_CASE("cli: the rows on HotpotQA, and never generated examples under their names", "[cli][hotpot]") {
    const auto lines_of = [](const Ran& r, const std::string& id) {
        int n = 0;
        for (size_t at = 0; (at = r.out.find("\n" + id + " ", at)) != std::string::npos; ++at) ++n;
        return n;
    };
    for (const Words& data : {Words{}, Words{"--data", golden}}) {
        const Ran r = run(Words{"reproduce", "t1.bm25", "t1.random"} + data);
        expect_ran(r, 0, data.empty() ? "not the paper's rows" : "generated, not the paper's data");
        CHECK(lines_of(r, "t1.bm25 (generated)") == 3);
        CHECK(lines_of(r, "t1.bm25") == 3);
        CHECK(r.out.find("82.7") == std::string::npos);
        CHECK((r.out.find("http://curtis.ml.cmu.edu/") != std::string::npos) == data.empty());
    }
    const Scratch scratch; // with real ids they are the paper's rows
    std::string text = read_file(golden);
    for (size_t at; (at = text.find("generated-")) != std::string::npos;) text.replace(at, 10, "5a");
    const Ran r = run({"reproduce", "t1.bm25", "t1.random", "--data", with_text(scratch, "a.json", text), "--results",
                       scratch / "results"});
    expect_ran(r, 0, "12 examples (the official dev file has 7,405: a sample or another set, so no verdict)");
    CHECK(r.out.find("(generated)") == std::string::npos);
    CHECK(r.out.find("82.7") != std::string::npos);
    expect_refused(run({"reproduce", "t1.raw", "--data", golden}), 2, "none of these rows is on HotpotQA");
}
