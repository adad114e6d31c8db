// How much memory reading a large file takes, as a multiple of the file: the highest resident set of a child process
// that does nothing else, minus its initial one.
#include <cstring>
#include <fstream>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "core/files.h"
#include "core/safetensors.h"
#include "study/plan.h"
#include "study/results.h"
#include "tasks/npy.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // it would count theirs
namespace {

double status_mb(const char* name) {
    const std::string status = read_file("/proc/self/status");
    return std::stod(status.substr(status.find(name) + std::strlen(name))) / 1024;
}

// "" if the highest is at most `most` times the file; else the measured value.
std::string multiple(const std::string& path, double most, const std::function<void()>& act) {
    return error_in_child([&] {
#if defined(__GLIBC__)
        mallopt(M_MMAP_THRESHOLD, 1 << 17); // return freed memory to the system, whatever ran before
#endif
        std::ofstream("/proc/self/clear_refs") << "5"; // resets VmHWM
        const double before = status_mb("VmRSS:");
        act();
        const double mb = static_cast<double>(std::filesystem::file_size(path)) / 1048576,
                     taken = status_mb("VmHWM:") - before;
        if (taken > most * mb)
            fail(Exit::internal, "{:.1f} MB for a file of {:.1f} MB: {:.2f} times", taken, mb, taken / mb);
    });
}

} // namespace

TEST_CASE("memory: a large array, header or result is read in a small multiple of its file") {
    const Scratch scratch;
    const std::string npy = scratch / "a.npy", names = scratch / "a.safetensors", results = scratch / "smoke.jsonl";
    save_npy(npy, std::vector<int32_t>(10'000'000, 7), 10'000, 1000);
    CHECK(multiple(npy, 1.2, [&] { load_npy(npy, false); }) == "");

    std::vector<StoredTensor> tensors;
    for (int i = 0; i < 200'000; ++i) tensors.push_back({fmt::format("w{}", i), "U8", {0}, nullptr, 0});
    write_safetensors(names, tensors);
    CHECK(multiple(names, 6, [&] { SafetensorsFile{names}; }) == "");

    Result r;
    r.hash = run_hash(r.options), r.scale = "smoke";
    r.provenance = "{\"options\":{},\"device\":\"cpu\"}";
    for (int i = 0; i < 500'000; ++i) r.curve.push_back({i + 1., 31.25, 7.5, 0.4});
    append_result(scratch.path, r);
    CHECK(multiple(results, 7.5, [&] {
              std::vector<std::string> notes;
              const Results all(scratch.path, "smoke", notes);
              check(all.all().size() == 1, "one result");
          }) == "");
}
#endif
