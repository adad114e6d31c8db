// The weights of a folder, read when they are used: a layer at a time is in memory, as float32, and the rest is where
// the operating system keeps files. Or weights of the same shapes drawn from a seed, drawn again whenever they are
// used.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/safetensors.h"
#include "nn/parameters.h"

namespace fci {

class PretrainedWeights {
public:
    // random: the files may be absent, and of those that are there only the shapes count.
    PretrainedWeights(std::string folder, std::optional<uint64_t> random);

    // The shape of a tensor, or null where it is not stored.
    const std::vector<int64_t>* shape(const std::string& name) const;

    // Exit::bad_data, naming what is missing, too much or of another shape, unless the files have these tensors. Left
    // aside: `buffers`, ends of names of what is no weight; and the tensor named `spare`, which may be there.
    void expect(const std::vector<ParameterInfo>&, const std::vector<std::string>& buffers,
                const ParameterInfo* spare) const;

    // Rows [first, first + count) of the first dimension, as float32. By any number of threads.
    void rows(const ParameterInfo&, int first, int count, float* to) const;
    static int64_t row_size(const ParameterInfo& p) { return p.shape.size() / p.shape[0]; }

    uint64_t hash(uint64_t so_far) const; // of every tensor's name, type, shape and bytes; of the seed, if random

private:
    struct Place {
        StoredTensor tensor;
        size_t file;
    };
    void add_file(const std::string& name);
    void read(const Place&, uint64_t from, size_t bytes, void* to) const;
    void draw(const ParameterInfo&, int row, float* to) const;

    std::string folder_;
    std::optional<uint64_t> random_;
    std::vector<OpenFile> files_;
    std::map<std::string, Place> places_;
};

} // namespace fci
