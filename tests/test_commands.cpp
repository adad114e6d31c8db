// fci route, demo and what people type first: help, --version, abbreviated flags.
#include <simdjson.h>

#include <fstream>
#include <sstream>

#include "tasks/npy.h"
#include "tests/catch.h"
#include "tests/faults/program.h"
#include "train/route.h"

using namespace fci;

TEST_CASE("route: text is sequences with the rows that ask, or says by line what is wrong", "[route]") {
    const Questions q = Questions::in_text("1 2\t3 \r\n\n 3 2 1|0 2\n0 0 0 | 1", "x", 3, 4);
    CHECK(q.tokens == std::vector<std::vector<int32_t>>{{1, 2, 3}, {3, 2, 1}, {0, 0, 0}});
    CHECK(q.rows == std::vector<std::vector<int32_t>>{{2}, {0, 2}, {1}});
    for (const auto& [text, message] : {std::pair("1 2 3\n1 2", "x:2: 2 tokens; the model is made for sequences of 3"),
                                        {"1 2 4", "x:1: token 4; the model has 0 to 3"},
                                        {"1 2 -1", "x:1: token -1;"},
                                        {"1 2 3 | 3", "x:1: row 3; the model has 0 to 2"},
                                        {"1 2 3 | 0 | 1", "x:1: | is not a token id"},
                                        {"1 2 3x", "x:1: 3x is not a token id"},
                                        {"1 2 99999999999", "x:1: 99999999999 is not a token id"},
                                        {"|1", "x:1: 0 tokens;"},
                                        {" \n", "x: there is no sequence in it"}}) {
        INFO(text);
        CHECK_THROWS_WITH(Questions::in_text(text, "x", 3, 4), Catch::Matchers::Contains(message));
    }
    CHECK_THROWS_WITH(Questions::in_text(std::string("1 \0 3", 5), "x", 3, 4),
                      Catch::Matchers::Contains("x:1: \\x00 is not a token id"));
    CHECK(Questions::in_text("\xEF\xBB\xBF"
                             "1 2 3",
                             "x", 3, 4)
              .tokens.at(0) == std::vector<int32_t>{1, 2, 3});

    const Scratch scratch;
    save_npy(scratch / "tokens.npy", {1, 2, 3, 3, 2, 1}, 2, 3);
    save_npy(scratch / "query.npy", {0, 3}, 2, 1);
    CHECK_THROWS_WITH(Questions::read(scratch / "", 3, 4),
                      Catch::Matchers::Contains("query.npy: sequence 2: row 3; the model has 0 to 2"));
    save_npy(scratch / "inputs.npy", {1, 2, 1, 3, 0, 3}, 2, 3);
    save_npy(scratch / "labels.npy", {-100, -100, 2, -100, -100, 0}, 2, 3);
    CHECK_THROWS_WITH(Questions::read(scratch / "", 3, 4), Catch::Matchers::Contains("keep only one of them there"));
    CHECK_THROWS_WITH(load_dataset(scratch.path), Catch::Matchers::Contains("keep only one of them there"));
    std::filesystem::remove(scratch / "tokens.npy");
    const Questions zoology = Questions::read(scratch / "", 3, 4);
    CHECK(zoology.tokens == std::vector<std::vector<int32_t>>{{1, 2, 1}, {3, 0, 3}});
    CHECK(zoology.rows == std::vector<std::vector<int32_t>>{{2}, {2}});
}

TEST_CASE("route: what it says is what the evaluation counts, of a folder, an array and text", "[cli][route]") {
    const Scratch scratch;
    for (const Words& model : {Words{}, Words{"--router", "segment-mean"}, Words{"--router", "rank1"}}) {
        const std::string run_folder = scratch / "run", data = scratch / "data";
        std::filesystem::remove_all(run_folder), std::filesystem::remove_all(data);
        INFO((model.empty() ? "investigator" : model[1]));
        expect_ran(run(tiny_run(run_folder) + model), 0);
        expect_ran(run(Words{"generate"} + tiny_data() + Words{"--sequences", "50", "--seed", "7", "--out", data}), 0);
        const std::string checkpoint = checkpoint_in(run_folder);
        const Ran from_folder = run({"route", checkpoint, "--data", data, "--threads", "2"});
        expect_ran(from_folder, 0, "sequence\trow\tanswer\tprobability\tchosen\tscores\n");
        CHECK(run({"route", checkpoint, "--data", data + "/tokens.npy"}).out == from_folder.out);

        const Dataset d = load_dataset(data);
        std::string text;
        for (int i = 0; i < d.count; ++i) {
            const auto begin = d.tokens.begin() + i * d.length;
            text += fmt::format("{}\n", fmt::join(begin, begin + d.length, " "));
        }
        write_file_atomically(scratch / "text", text);
        CHECK(run({"route", checkpoint, "--data", scratch / "text"}).out == from_folder.out);
        const std::string in = scratch / "text";
        CHECK(run({"route", checkpoint}, [&] { ::dup2(::open(in.c_str(), O_RDONLY), 0); }).out == from_folder.out);

        std::filesystem::remove(data + "/dataset.json"); // fci route needs only the arrays of the run's folder
        const Ran as_json = run({"route", checkpoint, "--data", data, "--json"});
        expect_ran(as_json, 0);
        const int segment = !model.empty() && model[1] == "segment-mean" ? 32 / 16 : 1; // positions per place
        double correct = 0, found = 0;
        int n = 0;
        simdjson::dom::parser parser;
        std::istringstream lines(as_json.out);
        for (std::string line; std::getline(lines, line); ++n) {
            const simdjson::dom::element j = parser.parse(line);
            CHECK(int64_t(j["sequence"]) == n + 1);
            CHECK(int64_t(j["row"]) == d.query[n]);
            correct += int64_t(j["answer"]) == d.label[n];
            CHECK((double(j["probability"]) > 0 && double(j["probability"]) <= 1));
            for (const simdjson::dom::element position : simdjson::dom::array(j["chosen"]))
                found += int64_t(position) == d.answer[n] / segment * segment;
        }
        CHECK(n == d.count);
        expect_ran(
            run(Words{"generate"} + tiny_data() + Words{"--sequences", "50", "--seed", "7", "--out", data + "2"}), 0);
        const Ran measured = run({"eval", checkpoint, "--data", data + "2", "--json"});
        std::filesystem::remove_all(data + "2");
        expect_ran(measured, 0);
        const simdjson::dom::element numbers = parser.parse(measured.out);
        CHECK(double(numbers["accuracy"]) == Approx(100 * correct / n));
        CHECK(double(numbers["routing_at_k"]) == Approx(100 * found / n));
    }
}

TEST_CASE("cli: version, help of a command, abbreviated flags", "[cli]") {
    const Ran version = run({"--version"});
    expect_ran(version, 0, "\ncompiler  ");
    CHECK(version.out.starts_with("fci " + read_file("VERSION").substr(0, 5)));
    CHECK(run({"help", "train"}).out == run({"train", "--help"}).out);
    CHECK(run({"help"}).out == run({"--help"}).out);
    for (const Words& words : {Words{"trian"}, Words{"help", "trian"}})
        expect_refused(run(words), 2, "trian is not a command; did you mean 'train'? (fci --help lists them)");
    for (const Words& words : {Words{"help", "--man", "train"}, Words{"help", "train", "--man"}})
        expect_refused(run(words), 2, "help --man: the man page covers all commands; leave train out");
    expect_refused(run({"train", "--lr", "1e-3"}), 2, "--lr is not known here; did you mean '--learning-rate'?");
    expect_refused(run({"train", "--rep", "raw"}), 2, "--rep is not known here; did you mean '--representation'?");
}

TEST_CASE("cli: commands to copy name the program as it was called", "[cli]") {
    const Scratch scratch;
    expect_ran(run({"rows"}), 0, "at a time: ./fci rows readings\n");
    std::filesystem::create_symlink(std::filesystem::canonical(program()), scratch / "fci");
    const std::string found_on_path = fmt::format("PATH='{}':$PATH; fci rows", scratch / "");
    expect_ran(Child({"-c", found_on_path}, {}, "", "/bin/bash").wait(), 0, "at a time: fci rows readings\n");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // takes minutes there
TEST_CASE("demo: a model learns where to look, with a picture before and after", "[cli]") {
    const Ran r = run({"demo"});
    expect_ran(r, 0, "before training");
    const std::string after = r.out.substr(r.out.find("epoch 4/4"));
    CHECK(after.find("position found 100.0%") != std::string::npos);
    CHECK(after.find("after training") != std::string::npos);
    CHECK(after.find("right).") != std::string::npos);
}
#endif
