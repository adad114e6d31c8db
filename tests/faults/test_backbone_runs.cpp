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
    // Trains "run", stops it `later` than its training set's features are begun, and goes on to its end. False: it had
    // ended before the signal.
    bool stop_and_go_on(std::chrono::milliseconds later) const {
        Child stopped(train("run", cache));
        wait_for_second(stopped);
        std::this_thread::sleep_for(later);
        stopped.kill(SIGTERM);
        const Ran ran = stopped.wait();
        CHECK(count(".tmp-") == 0);
        if (ran.code == 0) return false;
        expect_ran(ran, 75);
        if (fs::exists(scratch / "run/config.toml"))
            expect_ran(run({"train", "--resume", scratch / "run", "--quiet"}), 0); // its config names the cache
        else
            expect_ran(run(train("run", cache)), 0);
        return true;
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
    if (!place.stop_and_go_on(0ms)) return; // the signal came too late
    CHECK(place.count("features.safetensors") == 3);
    expect_ran(run(place.train("alone", "none")), 0);
    CHECK(same_tensors(place.scratch / "run", place.scratch / "alone"));
}

// Fifty moments in the features, in the training and in the tests after it.
TEST_CASE("backbone: stopped at any moment and gone on with, a run has the same bits", "[.][campaign]") {
    const Place alone;
    expect_ran(run(alone.train("run", "none")), 0);
    for (int i = 0; i < 50; ++i) {
        const Place place;
        place.stop_and_go_on(i * 20ms);
        CHECK(same_tensors(place.scratch / "run", alone.scratch / "run"));
    }
}
