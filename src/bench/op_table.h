// The op table: one description per op, by named buffers. From it the benchmark (ops.cpp) and the tests make rows, each
// an op with sizes. The descriptions (op_rows*.h) are templates of Op, the type of a row: BenchOp here, OpCase in the
// tests. Columns are
//   perf   time against the op's limit: fci bench
//   grad cpu node twin    tests/op_table.h, with references
// To add an op: add its files, tests/reference/NAME.h, one description, and its sizes. The sizes for the tests and for
// timing are each in a file that nothing else names (tests/op_NAME.cpp, ops_NAME.cpp).
#pragma once
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/tape.h"

namespace fci {

// Numbers to fill a buffer with. They are always floats, so that every number type starts from the same values.
using Fill = std::function<float(Rng&)>;
inline Fill uniform(float low, float high) {
    return [=](Rng& rng) { return rng.uniform(low, high); };
}

// Handles. A default one stands for a null argument.
struct Buffer {
    int id = -1;
};
struct IndexBuffer {
    int id = -1;
};

// input: filled, has a gradient; output: its gradient is a random dy; saved: from forward to backward.
enum class Role { input, output, saved };
struct Field {
    const char* name;
    Role role;
    int64_t size;
    Fill fill;
};
struct IndexField {
    const char* name;
    Role role; // input or output
    int64_t size;
    int below;                       // inputs are in [0, below)
    int distinct = 0;                // they ascend within groups of this many
    std::vector<int32_t> given = {}; // or these values

    void fill(Rng& rng, int32_t* to) const {
        for (int64_t i = 0; i < size; ++i) to[i] = given.empty() ? static_cast<int32_t>(rng.below(below)) : given[i];
        for (int64_t from = 0; distinct && from < size; from += distinct) // every subset equally likely [Knuth 3.4.2]
            for (int j = 0, left = distinct, at = 0; left; ++j)
                if (static_cast<int>(rng.below(below - j)) < left) to[from + at++] = j, --left;
    }
};

struct OpFields {
    explicit OpFields(std::string name_and_sizes) : name(std::move(name_and_sizes)) {}

    std::string name;
    OpCost cost;
    std::vector<Field> fields;
    std::vector<IndexField> index_fields;

    Buffer input(const char* what, int64_t size, Fill fill = uniform(-1, 1)) {
        return add(Field{what, Role::input, size, fill});
    }
    Buffer output(const char* what, int64_t size) { return add(Field{what, Role::output, size, {}}); }
    Buffer saved(const char* what, int64_t size) { return add(Field{what, Role::saved, size, {}}); }
    IndexBuffer index_input(const char* what, int64_t size, int below, int distinct = 0) {
        return add(IndexField{what, Role::input, size, below, distinct});
    }
    IndexBuffer index_input(const char* what, std::vector<int32_t> given) {
        return add(IndexField{what, Role::input, static_cast<int64_t>(given.size()), 0, 0, std::move(given)});
    }
    IndexBuffer index_output(const char* what, int64_t size) { return add(IndexField{what, Role::output, size, 0}); }

private:
    Buffer add(Field f) {
        fields.push_back(std::move(f));
        return {static_cast<int>(fields.size()) - 1};
    }
    IndexBuffer add(IndexField f) {
        index_fields.push_back(std::move(f));
        return {static_cast<int>(index_fields.size()) - 1};
    }
};

// A kernel on both devices. Each has its own type, by which the tests find its reference.
template <auto on_cpu>
struct Twin {
    decltype(on_cpu) cuda;
};
#define FCI_TWIN(f)                                                                                                    \
    Twin<&cpu::f> { &cuda::f }

// A node's results: as many tensors as the row has outputs, in the same order.
struct Outputs : std::vector<Tensor> {
    Outputs(Tensor only) : vector{only} {}
    Outputs(std::initializer_list<Tensor> all) : vector(all) {}
};

} // namespace fci
