#include "core/signals.h"

#include <signal.h>

namespace fci {
namespace {

volatile sig_atomic_t stop_signal = 0;
int guards = 0;
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
