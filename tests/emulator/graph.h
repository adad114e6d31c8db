// A captured step in the emulator. Like a GPU's graph, it keeps launches with their arguments' values, in order. As on
// a GPU, nothing runs while a host thread captures, and work that cannot be captured is an error. So a replay shows
// whether a step depends on anything except the device's memory.
#pragma once
#include <functional>
#include <vector>

namespace emulator {

using Graph = std::vector<std::function<void()>>;
extern constinit thread_local Graph* capturing; // of this host thread; null: work is done at once

void refuse_in_capture(const char* call); // an error while this host thread captures

template <class Work>
void enqueue(Work work) {
    if (capturing)
        capturing->push_back(work);
    else
        work();
}

} // namespace emulator
