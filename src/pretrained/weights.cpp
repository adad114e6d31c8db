#include "pretrained/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "core/check.h"
#include "core/half.h"
#include "core/hash.h"
#include "core/json.h"
#include "pretrained/config.h"

namespace fci {
namespace {

constexpr const char *whole = "model.safetensors", *index_name = "model.safetensors.index.json";
constexpr size_t most_index = size_t{64} << 20, piece = 1 << 16;

bool exists(const std::string& path) {
    std::error_code error;
    return std::filesystem::exists(path, error);
}

// Some names, for a message.
std::string list(const std::vector<std::string>& names) {
    std::string s = json_quote(names[0]);
    for (size_t i = 1; i < std::min<size_t>(names.size(), 3); ++i) s += ", " + json_quote(names[i]);
    return names.size() > 3 ? fmt::format("{} and {} more", s, names.size() - 3) : s;
}

} // namespace

PretrainedWeights::PretrainedWeights(std::string folder, std::optional<uint64_t> random)
    : folder_(std::move(folder)), random_(random) {
    const std::string index_path = folder_ + "/" + index_name;
    if (exists(folder_ + "/" + whole)) {
        add_file(whole);
        return;
    }
    if (!exists(index_path)) {
        if (random_) return;
        fail(
            Exit::bad_data, "{}: has neither {} nor {}; {}", folder_, whole, index_name,
            exists(folder_ + "/pytorch_model.bin")
                ? "pytorch_model.bin is not read, because it can contain programs: save the model again as safetensors "
                  "(transformers: save_pretrained(.., safe_serialization=True))"
                : "download the model's folder again");
    }
    const std::string text = read_part(index_path, 0, most_index + 1);
    if (text.size() > most_index)
        fail(Exit::bad_data, "{}: has more than {} bytes: not a list of shards", index_path, most_index);
    const std::map<std::string, std::string> shards = read_shard_index(index_path, text);
    std::set<std::string> names;
    for (const auto& [tensor, file] : shards)
        if (names.insert(file).second) add_file(file);
    for (const auto& [tensor, file] : shards) {
        const auto at = places_.find(tensor);
        if (at == places_.end() || files_[at->second.file].path() != folder_ + "/" + file)
            fail(Exit::bad_data, "{}: tensor {} should be in {}, but is not; download both again", index_path,
                 json_quote(tensor), json_quote(file));
    }
    for (const auto& [tensor, place] : places_)
        if (!shards.count(tensor))
            fail(Exit::bad_data, "{}: has a tensor {} that {} does not name; download both again",
                 files_[place.file].path(), json_quote(tensor), index_name);
}

void PretrainedWeights::add_file(const std::string& name) {
    files_.emplace_back(folder_ + "/" + name);
    for (StoredTensor& t : stored_tensors(files_.back())) {
        const auto [at, is_new] = places_.emplace(t.name, Place{t, files_.size() - 1});
        if (!is_new)
            fail(Exit::bad_data, "{}: has tensor {}, which is in {}, too; download the shards again",
                 files_.back().path(), json_quote(t.name), files_[at->second.file].path());
    }
}

const std::vector<int64_t>* PretrainedWeights::shape(const std::string& name) const {
    const auto at = places_.find(name);
    return at == places_.end() ? nullptr : &at->second.tensor.shape;
}

void PretrainedWeights::expect(const std::vector<ParameterInfo>& all, const std::vector<std::string>& buffers,
                               const ParameterInfo* spare) const {
    if (files_.empty()) return; // random, and without files
    std::vector<std::string> missing, unknown;
    std::map<std::string, const ParameterInfo*> wanted;
    for (const ParameterInfo& p : all) {
        wanted.emplace(p.name, &p);
        if (!places_.count(p.name)) missing.push_back(p.name);
    }
    if (spare) wanted.emplace(spare->name, spare);
    const auto is_buffer = [&](const std::string& name) {
        return std::any_of(buffers.begin(), buffers.end(), [&](const auto& end) { return name.ends_with(end); });
    };
    for (const auto& [name, place] : places_) {
        const auto at = wanted.find(name);
        if (at == wanted.end()) {
            if (!is_buffer(name)) unknown.push_back(name);
            continue;
        }
        const StoredTensor& t = place.tensor;
        const std::string& path = files_[place.file].path();
        if (t.dtype != "F32" && t.dtype != "F16" && t.dtype != "BF16")
            fail(Exit::bad_data,
                 "{}: tensor {} is {}, but only F32, F16 and BF16 can be read: save the model in one of these", path,
                 json_quote(name), t.dtype);
        const fci::Shape& s = at->second->shape;
        if (!std::equal(t.shape.begin(), t.shape.end(), s.n.begin(), s.n.begin() + s.rank))
            fail(Exit::bad_data, "{}: tensor {} is ({}), but config.json makes it {}; are both of the same model?",
                 path, json_quote(name), fmt::join(t.shape, ","), s.text());
    }
    if (!missing.empty())
        fail(Exit::bad_data,
             "{}: has no tensor {}, which config.json asks for; are both of the same model, and are all files there?",
             folder_, list(missing));
    if (!unknown.empty())
        fail(Exit::bad_data, "{}: tensor {} is unknown, so the model would compute something else; it cannot be run",
             folder_, list(unknown));
}

void PretrainedWeights::read(const Place& place, uint64_t from, size_t bytes, void* to) const {
    const OpenFile& file = files_[place.file];
    if (file.read(place.tensor.at + from, bytes, to) < bytes)
        fail(Exit::bad_data, "{}: ends inside tensor {}: it was cut while it was read; download it again", file.path(),
             json_quote(place.tensor.name));
}

void PretrainedWeights::rows(const ParameterInfo& p, int first, int count, float* to) const {
    const int64_t row = row_size(p), n = row * count;
    if (random_) {
        for (int r = 0; r < count; ++r) draw(p, first + r, to + r * row);
        return;
    }
    const Place& place = places_.at(p.name);
    if (place.tensor.dtype == "F32") return read(place, row * first * sizeof(float), n * sizeof(float), to);
    const bool half = place.tensor.dtype == "F16";
    alignas(64) uint16_t stored[piece];
    for (int64_t done = 0; done < n; done += piece) {
        const int64_t m = std::min<int64_t>(piece, n - done);
        read(place, (row * first + done) * sizeof *stored, m * sizeof *stored, stored);
        float* out = to + done;
        if (half)
            for (int64_t i = 0; i < m; ++i) out[i] = half_to_float(stored[i]);
        else
            for (int64_t i = 0; i < m; ++i) out[i] = bfloat_to_float(stored[i]);
    }
}

// A row is drawn as a parameter of its own, so that any row can be had without the others.
void PretrainedWeights::draw(const ParameterInfo& p, int row, float* to) const {
    fci::Shape shape = p.shape;
    shape.n[0] = 1;
    const uint64_t seed = hash64(fmt::format("{} {}", p.name, row), *random_);
    initialise({{p.name, shape, 0, p.init}}, seed, to);
}

uint64_t PretrainedWeights::hash(uint64_t so_far) const {
    if (random_) return hash64(fmt::format("random weights {}, version 1", *random_), so_far);
    std::string bytes(size_t{16} << 20, '\0');
    for (const auto& [name, place] : places_) { // by name: shards or one file, the same
        const StoredTensor& t = place.tensor;
        so_far = hash64(fmt::format("{} {} {}", name, t.dtype, fmt::join(t.shape, ",")), so_far);
        for (uint64_t from = 0; from < t.bytes; from += bytes.size()) {
            const size_t n = std::min<uint64_t>(bytes.size(), t.bytes - from);
            read(place, from, n, bytes.data());
            so_far = hash64(std::string_view(bytes).substr(0, n), so_far);
        }
    }
    return so_far;
}

} // namespace fci
