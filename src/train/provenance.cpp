#include "train/provenance.h"

#include <fmt/chrono.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "build_info.h" // FCI_GIT, FCI_FLAGS: written by the Makefile
#include "core/device.h"
#include "core/gemm.h"
#include "core/tile.h"

namespace fci {

std::string device_name(const RunOptions& run) {
    return run.device == "cuda" ? find_gpu().name + (run.precision == "fp32" ? "" : " (" + run.precision + ")") : "cpu";
}

std::string build_name() { return fmt::format("{} {}, vectors of {}", __VERSION__, FCI_FLAGS, lane_count); }

std::vector<std::pair<std::string, std::string>> provenance(const RunOptions& run) {
    std::string cpu = "unknown", line;
    for (std::ifstream info("/proc/cpuinfo"); std::getline(info, line);)
        if (line.rfind("model name", 0) == 0) {
            cpu = line.substr(line.find(':') + 2);
            break;
        }
    utsname system{};
    uname(&system);
    return {{"git", FCI_GIT},
            {"compiler", build_name()},
            {"blas_core", blas_core()},
            {"cpu", cpu},
            {"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
            {"device", device_name(run)},
            {"date", fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)))}};
}

std::string version_text() {
    const Gpu gpu = find_gpu();
    return fmt::format("fci {}, commit {}\ncompiler  {}\nBLAS      OpenBLAS, kernels for {}\nGPU       {}\n",
                       FCI_VERSION, FCI_GIT, build_name(), blas_core(), gpu.present ? gpu.name : "none: " + gpu.why);
}

std::string provenance_json(const Options& options, uint64_t data_hash) {
    Json j = Json::object(), recorded = Json::object();
    for (const auto& [key, value] : provenance(options.run)) j.add(key, value);
    Options o = options;
    o.model.backbone = std::filesystem::path(o.model.backbone).filename().string(); // its hash says what it is
    for (const Option& entry : table(o))
        if (entry.group != Option::run) recorded.add(entry.key, Json::raw(entry.text())); // as TOML, so as JSON
    j.add("seed", options.train.seed).add("data_hash", fmt::format("{:016x}", data_hash)).add("options", recorded);
    return j.text();
}

double peak_rss_mb() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return usage.ru_maxrss / 1048576.0; // bytes there
#else
    return usage.ru_maxrss / 1024.0;
#endif
}

} // namespace fci
