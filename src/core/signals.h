// Signals that ask the program to stop; long work asks stop_asked() now and then. They are SIGINT, SIGTERM, SIGUSR1 and
// SIGUSR2 (a batch system's warning), SIGXCPU (a limit on processor time) and, unless it is ignored (nohup), SIGHUP.
//
// The first one is answered at once by "stopping ..." on standard error. Senders repeat themselves (`timeout -s INT`,
// batch systems), so a second one within 2 seconds is taken as the same. A later SIGINT or SIGTERM, or a third, ends
// the program there and then with exit code 128 + its number; the other signals never do.
#pragma once

namespace fci {

// Signals are handled while a guard lives and, once one has come, to the program's end: a second may come when all
// guards have gone. A guard inside another changes nothing: a sweep holds one over all of its runs.
struct SignalGuard {
    SignalGuard();
    ~SignalGuard();
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;
};

bool stop_asked(); // a signal came since the outermost living guard was made

} // namespace fci
