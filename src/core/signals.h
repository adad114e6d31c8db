// Signals that ask a program to stop, as a question that long work asks itself: shall I? SIGINT, SIGTERM, SIGUSR1 and
// SIGUSR2 (a batch system's warning), SIGXCPU (a limit on processor time) and, unless it is ignored (nohup), SIGHUP.
//
// The first one is answered at once by "stopping ..." on standard error. Senders repeat themselves (`timeout -s INT`,
// batch systems), so a second one within 2 seconds is taken as the same. A later SIGINT or SIGTERM, or a third, ends
// the program there and then with exit code 128 + its number; the other signals never do.
#pragma once

namespace fci {

// While one lives, the signals ask, and once one has asked, to the program's end: the second may come when all guards
// have gone. One within another changes nothing: a sweep holds one over all of its runs.
struct SignalGuard {
    SignalGuard();
    ~SignalGuard();
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;
};

bool stop_asked(); // since the outermost guard was made, which still lives

} // namespace fci
