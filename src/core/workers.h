// Workers: threads that wait between jobs. run(n, job) calls job(i, worker) for i = 0 .. n-1, each once, on
// any worker in any order, and returns when all are done; the first exception is rethrown. Which worker
// takes which i varies from run to run, so a job's result may depend on i alone, never on `worker` (that index is
// for scratch memory). One run makes no heap allocation.
#pragma once
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fci {

class Workers {
public:
    explicit Workers(int count); // count >= 1; the caller's thread is worker 0
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    int count() const { return static_cast<int>(threads_.size()) + 1; }

    template <class F>
    void run(int n, const F& job) {
        run_erased(
            n, [](const void* f, int i, int worker) { (*static_cast<const F*>(f))(i, worker); }, &job);
    }

    static int available(); // processors that this process may use: its affinity and its control groups' quota

    // The quota by the control groups listed in the file `proc`, whose hierarchies are mounted (v2) in `mounted` or
    // (v1) in mounted/cpu: processors, rounded up, the least of a group and those above it; 0: no limit.
    static int quota(const std::string& proc, const std::string& mounted);

private:
    using Call = void (*)(const void*, int, int);
    void run_erased(int n, Call call, const void* job);
    void take(int worker);
    void end(); // of the threads

    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable start_, done_;
    Call call_ = nullptr;
    const void* job_ = nullptr;
    std::atomic<int> next_{0};
    int n_ = 0, busy_ = 0;
    uint64_t round_ = 0;
    bool quit_ = false;
    std::exception_ptr error_;
};

} // namespace fci
