// --device cuda without a GPU: refused before anything is done, with a message that names what is missing. This
// machine's GPUs are hidden from the program.
#include <cstdlib>

#include "tests/catch.h"
#include "tests/faults/program.h"

using namespace fci;
namespace fs = std::filesystem;

namespace {

void hide_gpus() { ::setenv("CUDA_VISIBLE_DEVICES", "-1", 1); }

// One of: built without nvcc; no driver; no GPU.
bool says_what_is_missing(const std::string& message) {
    for (const char* what : {"built without CUDA: install the CUDA Toolkit (nvcc)", "there is no NVIDIA driver",
                             "no NVIDIA GPU can be used here"})
        if (message.find(what) != std::string::npos) return true;
    return false;
}

} // namespace

TEST_CASE("device: without a GPU --device cuda is refused and says what is missing", "[cli][device]") {
    const Scratch scratch;
    const std::string out = scratch / "run";
    for (const Words& words : {tiny_run(out) + Words{"--device", "cuda"}, Words{"bench", "--device", "cuda"}}) {
        const Ran r = run(words, hide_gpus);
        expect_refused(r, 2, "--device cuda: ");
        INFO(r.err);
        CHECK(says_what_is_missing(r.err));
    }
    expect_refused(run(tiny_run(out) + Words{"--precision", "tf32"}, hide_gpus), 2,
                   "--precision tf32 is for products on a GPU");
    CHECK(!fs::exists(out));
    expect_refused(run({"bench", "--precision", "tf32", "--device", "cpu"}, hide_gpus), 2, "add --device cuda");
}

TEST_CASE("device: without a GPU auto is the CPU, with the same bits", "[cli][device]") {
    const Scratch scratch;
    const std::string chosen = scratch / "auto", cpu = scratch / "cpu";
    expect_ran(run(tiny_run(chosen) + Words{"--device", "auto"}, hide_gpus), 0);
    expect_ran(run(tiny_run(cpu) + Words{"--device", "cpu"}, hide_gpus), 0);
    CHECK(same_tensors(chosen, cpu));
}
