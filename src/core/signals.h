// SIGINT and SIGTERM as a question that long work asks itself: shall I stop? The first one asks for a stop, a second
// one kills as usual.
#pragma once

namespace fci {

// While one lives, the signals ask. One within another changes nothing: a sweep holds one over all of its runs.
struct SignalGuard {
    SignalGuard();
    ~SignalGuard();
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;
};

bool stop_asked(); // since the outermost guard was made

} // namespace fci
