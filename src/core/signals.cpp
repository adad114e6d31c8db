#include "core/signals.h"

#include <signal.h>

#include <atomic>

namespace fci {
namespace {

// Any thread may ask; a handler may write what is lock-free.
std::atomic<int> stop_signal = 0, guards = 0;
static_assert(std::atomic<int>::is_always_lock_free);
struct sigaction old_int, old_term;

} // namespace

SignalGuard::SignalGuard() {
    if (guards++) return;
    stop_signal = 0;
    struct sigaction ask {};
    ask.sa_handler = [](int s) { stop_signal = s; };
    ask.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &ask, &old_int);
    sigaction(SIGTERM, &ask, &old_term);
}

SignalGuard::~SignalGuard() {
    if (--guards) return;
    sigaction(SIGINT, &old_int, nullptr);
    sigaction(SIGTERM, &old_term, nullptr);
}

bool stop_asked() { return stop_signal != 0; }

} // namespace fci
