// Fibers: stacks with a guard page below, and a switch of six registers. See fiber.h.
#include "tests/emulator/fiber.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "tests/emulator/sanitizers.h"

// void fci_switch_stacks(void** save, void* load): pushes what a called function must preserve, keeps the stack
// pointer in *save, and returns on the stack that starts at load.
#if !defined(FCI_EMULATOR_UCONTEXT)
extern "C" void fci_switch_stacks(void** save, void* load);
asm(R"(
.text
.globl fci_switch_stacks
.hidden fci_switch_stacks
.type fci_switch_stacks, @function
fci_switch_stacks:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size fci_switch_stacks, . - fci_switch_stacks
.section .note.GNU-stack, "", @progbits
.text
)");
#endif

namespace emulator {
namespace {

constinit thread_local Fiber* entering = nullptr;

char* map(void* at, size_t bytes, int fixed) {
    void* p = ::mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return static_cast<char*>(p);
}

} // namespace

Fiber::~Fiber() {
    if (stack_) ::munmap(stack_ - guard_bytes, guard_bytes + stack_bytes);
}

void Fiber::prepare(void (*body)(), size_t number, void* thread) {
    if (!stack_) {
        stack_ = map(nullptr, guard_bytes + stack_bytes, 0) + guard_bytes;
        ::mprotect(stack_ - guard_bytes, guard_bytes, PROT_NONE);
    } else if (sanitizer::thread) {
        map(stack_, stack_bytes, MAP_FIXED); // else it would race with its last user, which is not ordered before
    }
    if (abandoned_) sanitizer::unpoison(stack_, stack_bytes);
    abandoned_ = true; // until it finishes
    body_ = body;
    own_thread_ = thread ? thread : sanitizer::new_thread();
#if defined(FCI_EMULATOR_UCONTEXT)
    static_cast<void>(number);
    ::getcontext(&own_);
    own_.uc_stack.ss_sp = stack_;
    own_.uc_stack.ss_size = stack_bytes;
    own_.uc_link = nullptr;
    ::makecontext(&own_, &Fiber::enter, 0);
#else
    // The tops of the stacks are staggered, or all would fall into the same few cache sets.
    void** top = reinterpret_cast<void**>(stack_ + stack_bytes - number * 5 % 32 * 64);
    *--top = nullptr; // enter()'s return address: the end of every backtrace
    *--top = reinterpret_cast<void*>(&Fiber::enter);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    own_ = top;
#endif
}

void Fiber::enter() {
    Fiber* self = entering;
    sanitizer::reach_stack(nullptr, &self->resumer_stack_, &self->resumer_bytes_);
    self->body_();
}

void Fiber::resume() {
    entering = this;
    resumer_thread_ = sanitizer::this_thread();
    sanitizer::leave_stack(&resumer_fake_, stack_, stack_bytes);
    sanitizer::become(own_thread_);
#if defined(FCI_EMULATOR_UCONTEXT)
    ::swapcontext(&resumer_, &own_);
#else
    fci_switch_stacks(&resumer_, own_);
#endif
    sanitizer::reach_stack(resumer_fake_, nullptr, nullptr);
}

void Fiber::switch_back() {
    sanitizer::become(resumer_thread_);
#if defined(FCI_EMULATOR_UCONTEXT)
    ::swapcontext(&own_, &resumer_);
#else
    fci_switch_stacks(&own_, resumer_);
#endif
}

void Fiber::suspend() {
    sanitizer::leave_stack(&own_fake_, resumer_stack_, resumer_bytes_);
    switch_back();
    sanitizer::reach_stack(own_fake_, nullptr, nullptr);
}

void Fiber::finish() {
    abandoned_ = false;
    sanitizer::leave_stack(nullptr, resumer_stack_, resumer_bytes_); // AddressSanitizer frees this fiber's data
    switch_back();
    __builtin_unreachable();
}

void* Fiber::forget(void* tag) {
    if (own_thread_ && abandoned_) {
        void* host = sanitizer::this_thread();
        sanitizer::become(own_thread_);
        sanitizer::release(tag);
        sanitizer::become(host);
        sanitizer::delete_thread(std::exchange(own_thread_, nullptr)); // not reusable: its functions have not returned
    }
    return std::exchange(own_thread_, nullptr);
}

} // namespace emulator
