#include "core/workers.h"

#include "core/scratch.h"

#ifdef __linux__
#include <sched.h>
#endif

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <algorithm>
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
    for (int w = 1; w < count; ++w)
        threads_.emplace_back([this, w] {
            cpu::Scratch::reserve(); // not in the middle of its first job
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
        });
}

Workers::~Workers() {
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
            next_ = n_; // what has not begun need not begin
        }
}

int Workers::available() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

} // namespace fci
