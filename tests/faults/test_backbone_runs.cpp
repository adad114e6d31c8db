// The cache of a backbone's features under several processes, and under signals.
#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

struct Place {
    Scratch scratch;
    const std::string cache = scratch / "cache";

    Words train(const std::string& name, const std::string& kept_in) const {
        return {"train",
                "--task",
                "mqar",
                "--length",
                "32",
                "--pairs",
                "4",
                "--vocab",
                "16",
                "--heads",
                "2",
                "--top-k",
                "2",
                "--batch",
                "500",
                "--threads",
                "1",
                "--representation",
                "raw",
                "--epochs",
                "1",
                "--sequences",
                "12000",
                "--test-sequences",
                "32",
                "--quiet",
                "--out",
                scratch / name,
                "--backbone",
                fs::absolute("tests/golden/backbones/llama_tied").string(),
                "--backbone-cache",
                kept_in};
    }
    // Files under the cache whose names contain `part`, without the locks.
    int count(const std::string& part) const {
        std::error_code gone; // the file may vanish in between
        int n = 0;
        for (fs::recursive_directory_iterator at(cache, gone), end; at != end; at.increment(gone))
            n += at->path().filename().string().find(part) != std::string::npos;
        return n;
    }
    // Waits until the training set's features are being written: the test set's are done then.
    void wait_for_second(Child& child) const {
        while (child.running() && !(count("features.safetensors") == 2 && count(".tmp-") == 1))
            std::this_thread::sleep_for(1ms);
    }
};

} // namespace

TEST_CASE("backbone: of two processes that want a cache one is killed, and the other ends as one alone", "[cli]") {
    const Place place;
    Child first(place.train("first", place.cache)), second(place.train("second", place.cache));
    place.wait_for_second(first);
    first.kill(SIGKILL);
    CHECK(first.wait().code == 128 + SIGKILL);
    expect_ran(second.wait(), 0);
    CHECK(place.count("features.safetensors") == 3); // training, test and final test
    CHECK(place.count(".tmp-") == 0);
    expect_ran(run(place.train("alone", "none")), 0);
    CHECK(same_tensors(place.scratch / "second", place.scratch / "alone"));
}

TEST_CASE("backbone: a signal while its features are made ends the run, which then goes on", "[cli]") {
    const Place place;
    Child stopped(place.train("run", place.cache));
    place.wait_for_second(stopped);
    stopped.kill(SIGTERM);
    const Ran ran = stopped.wait();
    CHECK(place.count(".tmp-") == 0);
    if (ran.code == 0) return; // the signal came too late
    expect_ran(ran, 75);
    INFO("stopped with: " << ran.err);
    if (fs::exists(place.scratch / "run/config.toml"))
        expect_ran(run({"train", "--resume", place.scratch / "run", "--quiet"}), 0);
    else
        expect_ran(run(place.train("run", place.cache)), 0);
    expect_ran(run(place.train("alone", "none")), 0);
    CHECK(same_tensors(place.scratch / "run", place.scratch / "alone"));
    expect_ran(run(place.train("uninterrupted", place.cache)), 0);
    CHECK(same_tensors(place.scratch / "run", place.scratch / "uninterrupted"));
}
