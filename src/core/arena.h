// Arena: bump allocation in a few large chunks. reset() starts again from the first chunk, so a training
// step gets the same addresses every time and, after the first step, touches the heap no more.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include "core/check.h"

namespace fci {

class Arena {
public:
    static constexpr size_t chunk_bytes = size_t{16} << 20, alignment = 64, page = size_t{2} << 20;
    struct Mark {
        size_t chunk = 0, used = 0;
    };

    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (Chunk& c : chunks_) std::free(c.base);
    }

    void* bytes(size_t n) {
        n = (n + alignment - 1) / alignment * alignment;
        while (at_.chunk < chunks_.size() && at_.used + n > chunks_[at_.chunk].size) at_ = {at_.chunk + 1, 0};
        if (at_.chunk == chunks_.size()) add_chunk(n);
        char* p = chunks_[at_.chunk].base + at_.used;
        at_.used += n;
        return p;
    }
    template <class T>
    T* array(size_t n) {
        return static_cast<T*>(bytes(n * sizeof(T)));
    }
    float* floats(size_t n) { return array<float>(n); }

    Mark mark() const { return at_; }
    void release(Mark m) { at_ = m; } // frees everything allocated since the mark
    void reset() { at_ = {}; }
    void grow_like(const Arena& other) { // takes now what the same work would take later
        const Mark m = at_;
        while (chunks_.size() < other.chunks_.size()) add_chunk(other.chunks_[chunks_.size()].size);
        at_ = m;
    }
    size_t reserved_bytes() const {
        size_t sum = 0;
        for (const Chunk& c : chunks_) sum += c.size;
        return sum;
    }

private:
    struct Chunk {
        char* base;
        size_t size;
    };
    void add_chunk(size_t n) {
        const size_t size = n > chunk_bytes ? (n + page - 1) / page * page : chunk_bytes;
        void* p = std::aligned_alloc(page, size); // on huge pages where the system gives them: fewer TLB misses
        if (!p)
            fail(Exit::internal, "out of memory: an arena needs {} MiB more; try a smaller --batch or --length",
                 size >> 20);
        madvise(p, size, MADV_HUGEPAGE);
        chunks_.push_back({static_cast<char*>(p), size});
        at_.used = 0;
    }

    std::vector<Chunk> chunks_;
    Mark at_;
};

} // namespace fci
