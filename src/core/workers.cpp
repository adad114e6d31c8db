#include "core/workers.h"

#include "core/check.h"
#include "core/scratch.h"

#ifdef __linux__
#include <sched.h>
#endif

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

namespace fci {

namespace {

// While it lives, this thread takes denormal operands and results for 0.
class DenormalsAreZero {
public:
#if defined(__SSE__)
    DenormalsAreZero() { _mm_setcsr(before_ | 0x8040); } // results (bit 15, FTZ) and operands (bit 6, DAZ)
    ~DenormalsAreZero() { _mm_setcsr(before_); }

private:
    unsigned before_ = _mm_getcsr();
#elif defined(__aarch64__)
    DenormalsAreZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | uint64_t{1} << 24)); // FZ: both
    }
    ~DenormalsAreZero() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

private:
    uint64_t before_ = 0;
#else
    DenormalsAreZero() {}
#endif
};

} // namespace

Workers::Workers(int count) {
    const auto wait_for_jobs = [this](int w) {
        try {
            cpu::Scratch::reserve(); // not in the middle of its first job
        } catch (const Error&) {}    // its first job will report it
        uint64_t seen = 0;
        std::unique_lock lock(mutex_);
        for (;;) {
            start_.wait(lock, [&] { return quit_ || round_ != seen; });
            if (quit_) return;
            seen = round_;
            lock.unlock();
            take(w);
            lock.lock();
            if (--busy_ == 0) done_.notify_one();
        }
    };
    try {
        for (int w = 1; w < count; ++w) threads_.emplace_back(wait_for_jobs, w);
    } catch (const std::system_error& e) {
        end();
        fail(Exit::internal,
             "thread {} of {} cannot be started: {}; use fewer --threads, or raise the limits (ulimit -u -v)",
             threads_.size() + 2, count, e.code().message());
    } catch (...) { // no memory
        end();
        throw;
    }
}

Workers::~Workers() { end(); }

void Workers::end() {
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    start_.notify_all();
    for (std::thread& t : threads_) t.join();
}

void Workers::run_erased(int n, Call call, const void* job) {
    {
        std::lock_guard lock(mutex_);
        call_ = call, job_ = job, n_ = n, error_ = nullptr;
        next_ = 0;
        busy_ = static_cast<int>(threads_.size());
        ++round_;
    }
    start_.notify_all();
    take(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return busy_ == 0; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Workers::take(int worker) {
    const DenormalsAreZero mode;
    for (int i; (i = next_++) < n_;) try {
            call_(job_, i, worker);
        } catch (...) {
            std::lock_guard lock(mutex_);
            if (!error_) error_ = std::current_exception();
            next_ = n_; // jobs that have not begun are dropped
        }
}

namespace {

// The processors that one control group may use, rounded up; 0: no limit.
int quota_of(const std::string& folder, bool v2) {
    double quota = 0, period = 0;
    if (v2) // "max 100000" or "150000 100000"
        std::ifstream(folder + "/cpu.max") >> quota >> period;
    else { // -1: no quota
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? static_cast<int>(std::min(std::ceil(quota / period), 1e6)) : 0;
}

} // namespace

int Workers::quota(const std::string& proc, const std::string& mounted) {
    int least = 0;
    std::ifstream groups(proc);
    for (std::string line; std::getline(groups, line);) { // "0::/a/b" of v2, "4:cpu,cpuacct:/a/b" of v1
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        std::istringstream controllers(line.substr(first + 1, second - first - 1));
        const bool v2 = second == first + 1;
        bool of_cpu = v2;
        for (std::string name; std::getline(controllers, name, ',');) of_cpu |= name == "cpu";
        if (!of_cpu) continue;
        // The group and all above it, up to the mount: within a container that is its own group.
        std::string path = line.substr(second + 1);
        for (;;) {
            while (path.ends_with('/')) path.pop_back();
            const int n = quota_of(mounted + (v2 ? "" : "/cpu") + path, v2);
            if (n && (!least || n < least)) least = n;
            if (path.empty()) break;
            path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
        }
    }
    return least;
}

int Workers::available() {
    int n = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = std::max(1, CPU_COUNT(&set));
    static const int most = quota("/proc/self/cgroup", "/sys/fs/cgroup"); // 0: none; files, so once
    if (most) n = std::min(n, most);
#endif
    return n;
}

} // namespace fci
