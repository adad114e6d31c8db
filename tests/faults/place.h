// Shared by the tests of the commands about rows.
#pragma once
#include <algorithm>
#include <sstream>

#include "study/results.h"
#include "tests/catch.h"
#include "tests/faults/program.h"

namespace fci {

// A folder like the repository: runs/ with its own rows and scale. Runs take a few hundredths of a second.
struct Place {
    Scratch scratch;

    explicit Place(int epochs = 3) {
        std::filesystem::create_directories(scratch / "runs");
        write("runs/scales.toml", fmt::format("[tiny]\nlearning_rates = [1e-2]\nsequences = 64\ntest_sequences = 32\n"
                                              "epochs = {}\nbatch = 8\nd_model = 16\nheads = 2\ntop_k = 2\n"
                                              "[tiny.mqar]\nlength = 32\npairs = 4\nvocab = 16\n",
                                              epochs));
        write("runs/one.toml", "[[row]]\nid = \"a.transformer\"\nwhere = \"Table 1\"\n"
                               "paper = { routing = \"100.0\", transition_epoch = \"5\" }\n"
                               "[[row]]\nid = \"a.raw\"\nrepresentation = \"raw\"\npaper = { routing = \"25.6\" }\n");
        write("runs/two.toml", "[[row]]\nid = \"b.raw\"\nrepresentation = \"raw\"\npaper = { accuracy = \"1\" }\n"
                               "[[row]]\nid = \"b.causal\"\nrepresentation = \"causal-transformer\"\n"
                               "paper = { routing = \"<=2\", rank = \"3\" }\n"
                               "[[row]]\nid = \"b.absent\"\nneeds = \"weights\"\ntask = \"x\"\n"
                               "paper = { routing = \"3\" }\n");
    }
    void write(const std::string& name, const std::string& text) const { write_file_atomically(scratch / name, text); }

    // Starts the program in it. in_child: as in Child.
    std::unique_ptr<Child> start(const Words& words, const std::function<void()>& in_child = {}) const {
        ::setenv("FCI_BIN", std::filesystem::absolute(program()).c_str(), 1); // absolute, as the child changes folders
        Words all = words;
        for (const char* flag : {"--scale", "tiny", "--threads", "1"}) all.push_back(flag);
        return std::make_unique<Child>(all, [&] {
            if (::chdir(scratch.path.c_str()) != 0) ::_exit(126);
            if (in_child) in_child();
        });
    }
    Ran operator()(const Words& words) const { return start(words)->wait(); }

    std::string results(const std::string& folder = "runs/out/results") const {
        return scratch / (folder + "/tiny.jsonl");
    }

    // Its results without their times, sorted: which process did what, and when, is random.
    std::vector<std::string> numbers(const std::string& folder = "runs/out/results") const {
        std::vector<std::string> all;
        std::istringstream in(read_file(results(folder)));
        for (std::string line; std::getline(in, line);) {
            std::optional<Result> r = from_json(line, "test");
            REQUIRE(r);
            r->seconds = 0;
            all.push_back(to_json(*r));
        }
        std::sort(all.begin(), all.end());
        return all;
    }
};

} // namespace fci
