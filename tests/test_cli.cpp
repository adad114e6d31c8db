// The program as people use it: every bad input gets its message and exit code (2 usage, 3 bad data, 1 I/O); its
// output, and files written and read again. Signals, kills and full disks are in faults/test_interrupted.cpp.
#include <simdjson.h>

#include <sstream>

#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

// One finished run, for all tests that only read it.
const std::string& finished() {
    static const Scratch scratch;
    static const std::string folder = [] {
        expect_ran(run(tiny_run(scratch / "run")), 0);
        return scratch / "run";
    }();
    return folder;
}

// A copy of it that a test may change.
std::string copy_of_finished(const Scratch& scratch, const std::string& name) {
    fs::copy(finished(), scratch / name, fs::copy_options::recursive);
    return scratch / name;
}

std::string with_text(const Scratch& scratch, const std::string& name, const std::string& text) {
    write_file_atomically(scratch / name, text);
    return scratch / name;
}

double number(const simdjson::dom::element& json, const std::string& pointer) {
    double x = 0;
    INFO(pointer);
    REQUIRE(json.at_pointer(pointer).get(x) == simdjson::SUCCESS);
    return x;
}

std::string word(const simdjson::dom::element& json, const std::string& pointer) {
    std::string_view x;
    INFO(pointer);
    REQUIRE(json.at_pointer(pointer).get(x) == simdjson::SUCCESS);
    return std::string(x);
}

} // namespace

TEST_CASE("cli: help begins with what it is and examples, then the flags", "[cli]") {
    for (const std::string command :
         {"", "train", "eval", "show", "analyze", "generate", "bench", "rows", "sweep", "reproduce", "table", "plot"}) {
        INFO("fci " << command);
        const Ran r = run(command.empty() ? Words{"--help"} : Words{command, "--help"});
        expect_ran(r, 0);
        CHECK(r.err.empty());
        const size_t examples = r.out.find("\nExamples:\n  fci " + command), options = r.out.find("--help ");
        CHECK(examples != std::string::npos);
        CHECK(examples > 5); // a description comes first
        CHECK(options > examples);
        CHECK(r.out.find('\x1b') == std::string::npos);
    }
}

TEST_CASE("cli: a word that cannot be used is refused, with the nearest that can", "[cli]") {
    expect_ran(run({}), 2, "Examples:"); // no arguments: the help
    const struct {
        Words words;
        int code;
        std::string message;
    } bad[] = {
        {{"trian"}, 2, "did you mean 'train'?"},
        {{"train", "--lenght", "32"}, 2, "--lenght is not known here; did you mean '--length'?"},
        {{"train", "--lenght=32"}, 2, "--lenght is not known here; did you mean '--length'?"},
        {{"train", "more"}, 2, "more is not known here"},
        {{"train", "--data", ""}, 2, "--data '': expected a value"},
        {{"eval", "a", "--threads", "-1"}, 2, "--threads -1: must be from 0 to 1024"},
        {{"generate", "--threads", "100000", "--out", "{}/data"}, 2, "must be from 0 to 1024"},
        {{"generate", "--seed", "-1", "--out", "{}/data"}, 2, "--seed -1: must be from 0"},
        {{"generate", "--split", "test", "--seed", "2", "--out", "{}/data"}, 2, "would do nothing with --split test"},
        {{"generate", "--test-sequences", "5", "--out", "{}/data"}, 2, "--test-sequences 5 would do nothing"},
        {{"eval", "a", "--top-k", "3"}, 2, "--top-k belongs to --task hotpotqa"},
        {{"train", "--quiet=banana"}, 2, "--quiet: banana: expected true, false or nothing"},
        {{"bench", "--json=99999999999999999999"}, 2, "--json: 99999999999999999999: expected true, false or nothing"},
        {{"train", "--length"}, 2, "--length needs a value (fci train --help)"},
        {{"train", "--length", "abc"}, 2, "--length abc: expected an integer"},
        {{"train", "--length", "1.5"}, 2, "--length 1.5: expected an integer"},
        {{"train", "--length", "99999999999999999999"}, 2, "expected an integer"},
        {{"train", "--learning-rate", "fast"}, 2, "--learning-rate fast: expected a number"},
        {{"train", "--learning-rate", "nan"}, 2, "--learning-rate nan"},
        {{"train", "--learning-rate", "0"}, 2, "--learning-rate 0 must be above 0"},
        {{"train", "--epochs", "0"}, 2, "--epochs 0: must be from 1 to 1048576"},
        {{"train", "--seed", "-1"}, 2, "--seed -1: must be from 0"},
        {{"train", "--task", "mqra"}, 2, "did you mean 'mqar'?"},
        {{"train", "--task", "other"}, 2, "--task other: must be one of der, mqar"}, // which only --data can give
        {{"train", "--router", "investigater"}, 2, "did you mean 'investigator'?"},
        {{"train", "--representation", "bidir-flwo:1"}, 2, "did you mean 'bidir-flow'?"},
        {{"train", "--representation", "flow:0"}, 2, "the number of layers after ':' must be 1 to 64"},
        {{"train", "--representation", "raw:2"}, 2, "write raw alone"},
        {{"train", "--representation", "perceiver:513"}, 2, "the number of hubs after ':' must be 1 to 512"},
        {{"bench", "--out", "a"}, 2, "--out requires --scaling"},
        {{"bench", "--scaling", "--json"}, 2, "--scaling excludes --json"},
        {{"train", "--task", "der", "--length", "100", "--n-distractors", "0"},
         2,
         "--length 100 is too short for --min-distance 200"},
        {{"train", "--task", "der", "--pairs", "8"}, 2, "--pairs 8 belongs to --task mqar"},
        {{"train", "--length", "32", "--pairs", "16"}, 2, "--length 32 is too short for --pairs 16"},
        {{"train", "--pairs", "20", "--vocab", "32"},
         2,
         "--pairs 20 need as many distinct keys, and --vocab 32 has 15"},
        {{"train", "--length", "40", "--top-k", "41"}, 2, "--top-k 41 must be from 1 to the sequence length 40"},
        {{"train", "--heads", "3"}, 2, "--d-model 128 must be a positive multiple of --heads 3"},
        {{"train", "--batch", "65", "--sequences", "64"}, 2, "--batch 65 is more than --sequences 64"},
        {{"train", "--stop-after", "4", "--epochs", "3"}, 2, "--stop-after 4 is more than --epochs 3"},
        {{"train", "--device", "gpu"}, 2, "--device gpu: must be one of auto, cpu, cuda"},
        {{"train", "--bandit-context", "product"}, 2, "--bandit-context product would do nothing with"},
        {{"train", "--mean-residual"}, 2, "--mean-residual true would do nothing with --representation transformer:1"},
        {{"train", "--contrastive-target", "embeddings"}, 2, "--contrastive none: leave it out"},
        {{"train", "--router", "bloom", "--epochs", "3"}, 2, "--epochs 3 would do nothing with"},
        {{"train", "--test-data", "a"}, 2, "--test-data needs --data too"},
        {{"train", "--data", "/nowhere", "--out", "{}/data"}, 3, "/nowhere: no such folder"},
        {{"train", "--resume", "/nowhere"}, 2, "--resume /nowhere: there is no run in it"},
        {{"train", "--resume", "a", "--out", "b"}, 2, "--out and --resume"},
        {{"train", "--config", "/nowhere"}, 3, "/nowhere: cannot be read: No such file"},
        {{"eval"}, 2, "checkpoint is required"},
        {{"eval", "/nowhere"}, 3, "/nowhere: cannot be read: No such file"},
        {{"eval", "/nowhere", "--threads", "many"}, 2, "--threads"},
        {{"show", "--count", "0"}, 2, "--count"},
        {{"show", "--checkpoint", "/nowhere"}, 3, "/nowhere: cannot be read"},
        {{"generate"}, 2, "--out FOLDER is needed"},
        {{"generate", "--split", "half"}, 2, "--split"},
    };
    const Scratch scratch;
    for (const auto& [words, code, message] : bad) {
        Words all = words; // whatever the error, nothing is written here
        for (std::string& w : all)
            if (w.starts_with("{}")) w.replace(0, 2, scratch.path);
        if (!all.empty() && all[0] == "train" && std::find(all.begin(), all.end(), "--out") == all.end() &&
            all[1] != "--resume")
            all = Words{"train", "--out", scratch / "run"} + Words(all.begin() + 1, all.end());
        INFO(fmt::format("fci {}", fmt::join(all, " ")));
        expect_refused(run(all), code, message);
        CHECK_FALSE(fs::exists(scratch / "run/config.toml"));
    }
}

TEST_CASE("cli: a bad config file is refused by line", "[cli]") {
    const Scratch scratch;
    const struct {
        std::string toml, message;
    } bad[] = {
        {"task = \"mqar\"\ntop_q = 4\n", ":2: top_q: no such option; did you mean 'top_k'?"},
        {"task = \"mqar\"\n\nlength = \"long\"\n", ":3: length: expected an integer"},
        {"length = 1.5\n", ":1: length: expected an integer"},
        {"learning_rate = true\n", ":1: learning_rate: expected a number"},
        {"filler_repeats_key = 1\n", ":1: filler_repeats_key: expected true or false"},
        {"task = 1\n", ":1: task: expected a string, in quotes"},
        {"router = \"rank2\"\n", "did you mean 'rank1'?"},
        {"epochs = 0\n", ":1: epochs: must be from 1 to 1048576, not 0"},
        {"epochs = 3\nepochs = 4\n", ":2:"},
        {"epochs = \n", "not TOML"},
        {"[model]\nd_model = 3\n", ":1: model: no such option"},
    };
    for (const auto& [toml, message] : bad) {
        INFO(toml);
        const std::string path = with_text(scratch, "a.toml", toml);
        const Ran r = run({"train", "--config", path, "--out", scratch / "run"});
        expect_refused(r, 2, message);
        CHECK(r.err.starts_with("fci: " + path + ":"));
        CHECK_FALSE(fs::exists(scratch / "run"));
    }
}

TEST_CASE("cli: flags override a config file, and config.toml repeats a run", "[cli]") {
    const Scratch scratch;
    const Words again = {"train", "--config", finished() + "/config.toml", "--threads", "2", "--out", scratch / "same"};
    expect_ran(run(again), 0);
    CHECK(same_tensors(finished(), scratch / "same"));
    expect_ran(run(Words{"train", "--config", finished() + "/config.toml", "--seed", "2", "--out", scratch / "other"}),
               0);
    CHECK_FALSE(same_tensors(finished(), scratch / "other"));
}

TEST_CASE("cli: a run goes into a new or empty folder only", "[cli]") {
    const Scratch scratch;
    const std::string file = with_text(scratch, "file", "precious");
    expect_refused(run(tiny_run(finished())), 2, finished() + ": already exists: choose another --out");
    expect_refused(run(tiny_run(scratch.path)), 2, "already exists");
    expect_refused(run(tiny_run(file)), 2, "is a file, not a folder");
    expect_refused(run(tiny_run(file + "/run")), 2, "is a file, not a folder");
    expect_refused(run(tiny_run("/proc/nowhere/run")), 1, "cannot be made");
    CHECK(read_file(file) == "precious");
    fs::create_directory(scratch / "empty");
    expect_ran(run(tiny_run(scratch / "empty")), 0);
    CHECK(same_tensors(finished(), scratch / "empty"));
}

TEST_CASE("cli: a damaged or foreign checkpoint is refused by eval, show and resume", "[cli]") {
    const Scratch scratch;
    const std::string whole = read_file(checkpoint_in(finished()));
    std::string flipped = whole, header = whole;
    flipped[whole.size() - 1000] ^= 4;
    header[50] ^= 1;
    const float one = 1;
    const struct {
        std::string bytes, message;
    } bad[] = {{whole.substr(0, whole.size() / 2), "the file at"},
               {whole.substr(0, 100), "the header has"},
               {"", "the file ends after 0 bytes"},
               {flipped, "changed or damaged after it was written"},
               {header, "changed or damaged after it was written"},
               {std::string(4096, 'x'), "not a safetensors file"},
               {safetensors_bytes({{"w", "F32", {1}, &one, sizeof one}}), "not a checkpoint of fci"}};
    const std::string folder = copy_of_finished(scratch, "run"), path = checkpoint_in(folder);
    for (const auto& [bytes, message] : bad) {
        INFO(message);
        write_file_atomically(path, bytes);
        expect_refused(run({"eval", path}), 3, path + ": ");
        expect_refused(run({"eval", path}), 3, message);
        expect_refused(run({"show", "--checkpoint", path}), 3, message);
        expect_refused(run({"train", "--resume", folder, "--quiet"}), 3, message);
        CHECK(read_file(path) == bytes); // left unchanged for inspection
    }
    expect_refused(run({"eval", folder + "/config.toml"}), 3, "expected a run's folder or its checkpoint.safetensors");
    write_file_atomically(path, whole);
    expect_ran(run({"eval", path}), 0, "accuracy");
}

TEST_CASE("cli: a run is resumed with its own options, checkpoint and log only", "[cli]") {
    const Scratch scratch;
    const std::string folder = copy_of_finished(scratch, "run");
    const auto resume = [&](const Words& more) { return run(Words{"train", "--resume", folder, "--quiet"} + more); };
    expect_refused(resume({"--d-model", "32"}), 2, "--d-model 32: the run in " + folder + " has 16");
    expect_refused(resume({"--task", "der"}), 2, "--task \"der\"");
    expect_refused(resume({"--epochs", "4"}), 2, "--epochs 4");
    expect_refused(resume({"--config", folder + "/config.toml"}), 2, "--config");
    expect_ran(resume({"--d-model", "16", "--threads", "2"}), 0); // a repeated option, or one of how to run: fine

    Words wider = tiny_run(scratch / "wider") + Words{"--top-k", "3"};
    expect_ran(run(wider), 0);
    fs::copy(checkpoint_in(scratch / "wider"), checkpoint_in(folder), fs::copy_options::overwrite_existing);
    expect_refused(resume({}), 3, "it was made with top_k = 3, this run has 2");
    fs::copy(checkpoint_in(finished()), checkpoint_in(folder), fs::copy_options::overwrite_existing);
    write_file_atomically(folder + "/log.jsonl", "");
    expect_refused(resume({}), 3, "is missing or empty; the log of this checkpoint has");
    const std::string config = read_file(folder + "/config.toml");
    write_file_atomically(folder + "/config.toml", "top_q = 3\n" + config);
    expect_refused(resume({}), 3, "config.toml:1: top_q: no such option");
}

TEST_CASE("cli: --json ends with one object that has every number and where it comes from", "[cli]") {
    const Scratch scratch;
    const Ran trained = run(tiny_run(scratch / "run") + Words{"--json"});
    expect_ran(trained, 0);
    CHECK(trained.err.find("epoch   3/3") != std::string::npos); // progress goes to standard error
    simdjson::dom::parser parser;
    const simdjson::dom::element json = parser.parse(trained.out);
    for (const char* key : {"/routing_at_k", "/routing_at_1", "/accuracy", "/chance/routing_at_k",
                            "/chance/routing_at_1", "/chance/accuracy"})
        CHECK((number(json, key) >= 0 && number(json, key) <= 100));
    CHECK(number(json, "/epochs") == 3);
    CHECK(number(json, "/steps") == 24);
    for (const char* key : {"/seconds", "/ms_per_step_median", "/peak_rss_mb"}) CHECK(number(json, key) > 0);
    CHECK(number(json, "/parameters") == 8144);
    for (const char* key : {"/git", "/compiler", "/blas_core", "/cpu", "/system", "/data_hash"})
        CHECK_FALSE(word(json, std::string("/provenance") + key).empty());
    CHECK(number(json, "/provenance/seed") == 1);
    CHECK(word(json, "/provenance/options/representation") == "transformer:1");
    CHECK(number(json, "/provenance/options/learning_rate") == 1e-2);

    const Ran measured = run({"eval", checkpoint_in(scratch / "run"), "--json", "--quiet"});
    expect_ran(measured, 0);
    CHECK(measured.err.empty());
    simdjson::dom::parser other;
    const simdjson::dom::element again = other.parse(measured.out);
    for (const char* key :
         {"/routing_at_k", "/routing_at_1", "/accuracy", "/chance/accuracy", "/epochs", "/steps", "/parameters"})
        CHECK(number(again, key) == number(json, key));
}

TEST_CASE("cli: help is 80 columns wide, and breaks no example", "[cli]") {
    for (const char* command : {"", "train", "eval", "show", "analyze", "generate", "bench", "rows", "sweep",
                                "reproduce", "table", "report", "plot"}) {
        const Ran r = run(*command ? Words{command, "--help"} : Words{"--help"});
        expect_ran(r, 0, "Examples:\n");
        std::istringstream lines(r.out);
        bool examples = false;
        for (std::string line; std::getline(lines, line);) {
            INFO(command << ": " << line);
            CHECK(line.size() <= 80);
            if (examples && !line.empty()) // a whole command, or a continuation of the text beside one
                CHECK((line.starts_with("  fci ") || line.starts_with(std::string(30, ' '))));
            examples = line == "Examples:" || (examples && !line.empty());
        }
    }
}

TEST_CASE("cli: without a terminal one plain line an epoch, of at most 80 letters; --quiet none", "[cli]") {
    const Scratch scratch;
    const Ran r = run(tiny_run(scratch / "run"));
    expect_ran(r, 0);
    CHECK(r.err.empty());
    int epochs = 0;
    for (size_t at = 0; (at = r.out.find("\nepoch ", at)) != std::string::npos; ++at) ++epochs;
    CHECK(epochs == 3);
    CHECK(r.out.find_first_of("\x1b\r") == std::string::npos);
    CHECK(std::count(r.out.begin(), r.out.end(), '\n') <= 11 + epochs); // what it trains, headings, the end
    std::istringstream lines(r.out);
    for (std::string line; std::getline(lines, line);)
        if (line.find(scratch / "") == std::string::npos) CHECK(line.size() <= 80);
    const Ran quiet = run(tiny_run(scratch / "quiet") + Words{"--quiet"});
    expect_ran(quiet, 0);
    CHECK((quiet.out + quiet.err).empty());
}

TEST_CASE("cli: output that cannot be written is an error", "[cli]") {
    if (!fs::exists("/dev/full")) return;
    const Scratch scratch;
    for (const Words& words : {Words{"eval", checkpoint_in(finished()), "--json"}, Words{"show", "--count", "1"}}) {
        const Ran r = run(words, {}, "/dev/full");
        INFO(words[0]);
        expect_ran(r, 1, "No space left on device");
    }
}

TEST_CASE("cli: generated data that went through a folder trains to the same bits", "[cli]") {
    const Scratch scratch;
    const std::string train = scratch / "train", test = scratch / "test";
    expect_ran(run(Words{"generate", "--sequences", "64", "--out", train} + tiny_data()), 0,
               "64 sequences of 32 tokens");
    expect_ran(run(Words{"generate", "--split", "test", "--test-sequences", "32", "--out", test} + tiny_data()), 0);
    expect_refused(run(Words{"generate", "--out", train} + tiny_data()), 2, "the folder is not empty");
    const Words rest = Words{"--epochs", "3", "--learning-rate", "1e-2"} + tiny_model();
    expect_ran(run(Words{"train", "--data", train, "--test-data", test, "--out", scratch / "run"} + rest), 0);
    CHECK(same_tensors(finished(), scratch / "run"));
    expect_refused(run({"train", "--data", train, "--pairs", "2"}), 2,
                   "--pairs 2 and --data: the data already decide this");
    expect_refused(run({"train", "--data", train, "--sequences", "32"}), 2,
                   "--sequences 32 and --data: the data already decide this");
    expect_refused(run({"train", "--data", train, "--test-data", test, "--test-sequences", "8"}), 2,
                   "--test-sequences 8 and --test-data: the data already decide this");
    const Words some = Words{"train", "--data", train, "--out", scratch / "some", "--quiet", "--test-sequences"};
    expect_refused(run(some + Words{"13"} + rest), 2, "of the 64 sequences in " + train + " at most a fifth, 12, can");
    CHECK_FALSE(std::filesystem::exists(scratch / "some"));
    expect_ran(run(some + Words{"010"} + rest), 0); // the value counts, not its spelling
    expect_ran(run({"eval", checkpoint_in(finished()), "--data", test}), 0, "32 test sequences of " + test);
    expect_refused(run({"eval", checkpoint_in(finished()), "--data", finished()}), 3, "tokens.npy: cannot be read");

    // A description that is consistent but belongs to other arrays.
    const std::string described = read_file(train + "/dataset.json");
    std::string wrong = described;
    for (const auto& [from, to] : {std::pair("\"pairs\": 4", "\"pairs\": 100000"),
                                   {"\"length\": 32", "\"length\": 1000000"},
                                   {"\"vocab\": 16", "\"vocab\": 1000000"}}) {
        const size_t at = wrong.rfind(from); // the last occurrence: within the options
        REQUIRE(at != std::string::npos);
        wrong.replace(at, std::strlen(from), to);
    }
    with_text(scratch, "train/dataset.json", wrong);
    expect_refused(run(Words{"train", "--data", train, "--out", scratch / "wrong"} + rest), 3,
                   "its options say length 1000000 and vocab 1000000, its arrays have 32 and 16");

    // Arrays of another program, without a description. The run must find them again.
    fs::remove(train + "/dataset.json");
    const std::string folder = scratch / "foreign";
    expect_ran(run(Words{"train", "--data", train, "--stop-after", "1", "--out", folder} + rest), 0);
    expect_ran(run({"eval", checkpoint_in(folder)}), 0, "accuracy");
    expect_ran(run({"show", "--checkpoint", checkpoint_in(folder), "--count", "1"}), 0, "must choose");
    expect_ran(run({"train", "--resume", folder}), 0, "epoch   3/3");
    with_text(scratch, "train/label.npy", read_file(train + "/query.npy"));
    expect_ran(run({"train", "--resume", folder}), 3);
}

TEST_CASE("cli: show prints pictures, of data and of what a model chose", "[cli]") {
    expect_ran(run({"show", "--task", "der", "--count", "2"}), 0, "Example 2 of 2, der far, length 512, seed 1");
    const Ran r = run({"show", "--checkpoint", checkpoint_in(finished()), "--count", "2"});
    expect_ran(r, 0, "It chose #1 ");
    CHECK(r.out.find("test example 2\n") != std::string::npos);
    CHECK(r.out.find('\x1b') == std::string::npos);
}
