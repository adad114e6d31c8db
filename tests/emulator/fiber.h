// A fiber: a function with its own stack that runs until it suspends itself, and later continues at that point. One
// host thread runs all fibers of a launch in turns, so every run is the same.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || !defined(__ELF__)
#define FCI_EMULATOR_UCONTEXT // the C library's switch: portable, but needs a system call for the signal mask
#endif
#if defined(FCI_EMULATOR_UCONTEXT)
#include <ucontext.h>
#endif

namespace emulator {

class Fiber {
public:
    static constexpr size_t stack_bytes = 128 << 10, guard_bytes = 64 << 10; // a guard is whole pages, also of 64 KB

    Fiber() = default;
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;
    ~Fiber();

    // The next resume() starts the body, which must not return. thread: a spare ThreadSanitizer thread for it, if there
    // is one.
    void prepare(void (*body)(), size_t number, void* thread);
    void resume();  // runs the fiber until it suspends itself
    void suspend(); // called by the fiber
    void finish();  // called by the fiber, which will not be resumed
    // Called after its last run. If it has not finished, everything it did is now ordered before tag. Returns
    // ThreadSanitizer's thread if it can be used again.
    void* forget(void* tag);

private:
    static void enter();
    void switch_back();

#if defined(FCI_EMULATOR_UCONTEXT)
    ucontext_t own_, resumer_;
#else
    void *own_ = nullptr, *resumer_ = nullptr; // stack pointers; everything else is on the stacks
#endif
    char* stack_ = nullptr;
    void (*body_)() = nullptr;
    bool abandoned_ = false;

    // the sanitizers' view of both sides
    void *own_fake_ = nullptr, *resumer_fake_ = nullptr, *own_thread_ = nullptr, *resumer_thread_ = nullptr;
    const void* resumer_stack_ = nullptr;
    size_t resumer_bytes_ = 0;
};

} // namespace emulator
