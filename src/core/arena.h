// Arena: bump allocation in a few large chunks. reset() starts again from the first chunk, so a training
// step gets the same addresses every time and, after the first step, never touches the heap again (on a GPU it can be
// captured once and replayed).
#pragma once
#include <cstddef>
#include <vector>

#include "core/device.h"

namespace fci {

class Arena {
public:
    static constexpr size_t chunk_bytes = size_t{16} << 20, alignment = 64, page = size_t{2} << 20;
    struct Mark {
        size_t chunk = 0, used = 0;
    };

    explicit Arena(Device device = Device::cpu) : device_(device) {}
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() {
        for (Chunk& c : chunks_) fci::release(device_, c.base);
    }

    Device device() const { return device_; }

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
    void reset() {
        for (size_t c = 0; zeroed_ && c < chunks_.size() && c <= at_.chunk; ++c)
            set_zero(device_, chunks_[c].base, c < at_.chunk ? chunks_[c].size : at_.used);
        at_ = {};
    }
    // From now on memory is zero when it is handed out: each reset clears what was used, in one pass.
    void keep_zeroed() { zeroed_ = true; }
    void grow_like(const Arena& other) { // allocates now what the same work would allocate later
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
        const size_t endless = size_t{1} << 60;
        const size_t size = device_ == Device::none ? endless
                            : n > chunk_bytes       ? (n + page - 1) / page * page
                                                    : chunk_bytes;
        chunks_.push_back({static_cast<char*>(allocate(device_, size, page)), size});
        if (zeroed_) set_zero(device_, chunks_.back().base, size);
        at_.used = 0;
    }

    Device device_;
    bool zeroed_ = false;

    std::vector<Chunk> chunks_;
    Mark at_;
};

} // namespace fci
