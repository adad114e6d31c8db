#include "core/signals.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <iterator>

namespace fci {
namespace {

constexpr int asking[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};

// Any thread may ask; a handler may write what is lock-free.
std::atomic<int> guards = 0, asked = 0; // asked: signals since the guard was made
std::atomic<int64_t> first_ms = 0;      // when the first of them came
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);
struct sigaction before[std::size(asking)];

void ask(int signal) {
    const int error = errno;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t ms = int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
    const int earlier = asked++;
    if (earlier == 0) {
        first_ms = ms;
        constexpr char text[] = "stopping ...\n";
        [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, sizeof text - 1);
    } else if ((signal == SIGINT || signal == SIGTERM) && (earlier > 1 || ms - first_ms > 2000))
        ::_exit(128 + signal);
    errno = error;
}

} // namespace

SignalGuard::SignalGuard() {
    if (guards++) return;
    asked = 0;
    struct sigaction action {};
    action.sa_handler = ask;
    for (size_t i = 0; i < std::size(asking); ++i) {
        sigaction(asking[i], nullptr, &before[i]);
        if (asking[i] != SIGHUP || before[i].sa_handler != SIG_IGN) sigaction(asking[i], &action, nullptr);
    }
}

SignalGuard::~SignalGuard() {
    if (--guards || asked) return; // asked: the sender may repeat the signal until the program has ended
    for (size_t i = 0; i < std::size(asking); ++i) sigaction(asking[i], &before[i], nullptr);
}

bool stop_asked() { return guards != 0 && asked != 0; }

} // namespace fci
