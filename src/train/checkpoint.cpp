#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <functional>

#include "core/files.h"
#include "core/gemm.h"
#include "core/safetensors.h"
#include "core/streams.h"
#include "nn/representation.h"
#include "train/provenance.h"

namespace fci {
namespace {

const std::string format = "fci checkpoint 1", file_name = "checkpoint.safetensors";

const std::string& require_metadata(const SafetensorsFile& file, const std::string& path, const std::string& key) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end())
        fail(Exit::bad_data,
             "{}: not a checkpoint of fci: its metadata has no '{}'; if it has a model's weights, fci train "
             "--init-from can start from them",
             path, key);
    return found->second;
}

int64_t require_number(const SafetensorsFile& file, const std::string& path, const std::string& key) {
    const std::string& text = require_metadata(file, path, key);
    int64_t x = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x);
    if (error != std::errc() || end != text.data() + text.size() || x < 0)
        fail(Exit::bad_data, "{}: '{}' in its metadata is '{}', not a number", path, key, text);
    return x;
}

Options options_in(const SafetensorsFile& file, const std::string& path) {
    if (require_metadata(file, path, "format") != format)
        fail(Exit::bad_data, "{}: its format is '{}', this program reads '{}'", path, file.metadata().at("format"),
             format);
    Options o;
    read_toml(o, require_metadata(file, path, "config"), path + " (config)", Exit::bad_data);
    return o;
}

std::vector<int64_t> sizes(const Shape& s) { return {s.n.begin(), s.n.begin() + s.rank}; }

// Why a run that goes on here will not have the bits of an uninterrupted one; "": it will.
std::string other_bits(const SafetensorsFile& file, const ModelOptions& model) {
    const auto of = [&](const char* key) {
        const auto found = file.metadata().find(key);
        return found == file.metadata().end() ? std::string("not known") : found->second;
    };
    const auto differ = [&](const char* what, const std::string& there, const std::string& here) {
        return fmt::format(
            "the checkpoint was made with another {} ({}; here {}): the run goes on, but not with the same bits", what,
            there, here);
    };
    if (const std::string build = of("build"); build != build_name()) return differ("build", build, build_name());
    const bool by_lapack = Mixing(model.representation).kind->needs_routing;
    if (const std::string core = of("blas_core"); by_lapack && core != blas_core())
        return differ("choice of OpenBLAS kernels", core, blas_core());
    return "";
}

} // namespace

std::string checkpoint_file(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) return path;
    const std::string file = (std::filesystem::path(path) / file_name).string();
    if (!std::filesystem::exists(file, error))
        fail(Exit::bad_data, "{}: there is no {} in this folder; a run writes it at the end of its first epoch", path,
             file_name);
    return file;
}

std::string folder_of_run(const std::string& path) {
    const std::filesystem::path given(path);
    std::error_code error;
    if (given.filename() != file_name || !std::filesystem::is_regular_file(given, error)) return path;
    return given.has_parent_path() ? given.parent_path().string() : ".";
}

void save_checkpoint(const std::string& path, Trainer& t, const Progressed& progressed) {
    std::vector<StoredTensor> tensors;
    const auto add = [&](const std::string& prefix, const std::vector<float>& block) {
        for (const ParameterInfo& p : t.infos())
            tensors.push_back(
                {prefix + p.name, "F32", sizes(p.shape), block.data() + p.offset, p.shape.size() * sizeof(float)});
    };
    add("", t.parameters());
    add("adamw.m/", t.optimiser().m);
    add("adamw.v/", t.optimiser().v);
    write_safetensors(path, tensors,
                      {{"format", format},
                       {"config", write_toml(t.options())},
                       {"step", std::to_string(t.steps_done())},
                       {"log_bytes", std::to_string(progressed.log_bytes)},
                       {"transition_epoch", std::to_string(progressed.transition_epoch)},
                       {"data_hash", fmt::format("{:016x}", t.data_hash())},
                       {"build", build_name()},
                       {"blas_core", blas_core()}});
}

Options checkpoint_options(const std::string& path, const RunOptions& how) {
    // A damaged one still has the { that its header begins with.
    if (const std::string start = read_part(path, 0, 9); start.size() == 9 && start[8] != '{')
        fail(Exit::bad_data, "{}: not a safetensors file, so not a checkpoint; expected a run's folder or its {}", path,
             file_name);
    Options o = options_in(SafetensorsFile(path), path);
    o.run = how;
    if (!how.backbone.empty() && !o.model.has_backbone())
        fail(Exit::usage, "--backbone {}: the model in {} has none; leave the flag out", how.backbone, path);
    if (!how.backbone.empty()) o.model.backbone = how.backbone;
    if (std::error_code ignored; o.model.has_backbone() && !std::filesystem::exists(o.model.backbone, ignored))
        fail(Exit::bad_data, "{}: its backbone is not in {}; name its folder with --backbone", path, o.model.backbone);
    resolve(o);
    return o;
}

namespace {

uint64_t data_hash_in(const SafetensorsFile& file, const std::string& path) {
    const std::string& text = require_metadata(file, path, "data_hash");
    uint64_t hash = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
    if (error != std::errc() || end != text.data() + text.size())
        fail(Exit::bad_data, "{}: 'data_hash' in its metadata is '{}', not a hash", path, printable(text));
    return hash;
}

void expect_same_data(const SafetensorsFile& file, const std::string& path, uint64_t hash, const Options& o) {
    if (hash == data_hash_in(file, path)) return;
    fail(Exit::bad_data, "{}: it was trained on other data than {}", path,
         o.train.data.empty() && o.train.test_data.empty() ? "this version generates"
         : o.train.data.empty()                            ? o.train.test_data + " holds now"
                                                           : o.train.data + " holds now");
}

const std::string moments[] = {"adamw.m/", "adamw.v/"};

[[noreturn]] void refuse_not_finite(const std::string& path, const std::string& tensor) {
    fail(Exit::non_finite, "{}: {} has a NaN or Inf; use an earlier checkpoint, or train again", path, tensor);
}

void fill(const SafetensorsFile& file, const std::string& path, const std::string& prefix,
          const std::vector<ParameterInfo>& infos, std::vector<float>& block) {
    for (const ParameterInfo& p : infos) {
        const StoredTensor& from = file.require(prefix + p.name, "F32", sizes(p.shape));
        std::memcpy(block.data() + p.offset, from.data, from.bytes);
        if (!Tape::finite(block.data() + p.offset, p.shape.size())) refuse_not_finite(path, prefix + p.name);
    }
}

bool is_moment(const StoredTensor& t) {
    return std::any_of(std::begin(moments), std::end(moments),
                       [&](const std::string& prefix) { return t.name.starts_with(prefix); });
}

// The parameters. Beside them the file has nothing, or AdamW's state.
void fill_parameters(const SafetensorsFile& file, const std::string& path, Trainer& t) {
    const auto others = std::count_if(file.tensors().begin(), file.tensors().end(), std::not_fn(is_moment));
    if (others != static_cast<int64_t>(t.infos().size()))
        fail(Exit::bad_data,
             "{}: it has {} tensors besides AdamW's state, this model has {}; was it written for another model?", path,
             others, t.infos().size());
    fill(file, path, "", t.infos(), t.edit().parameters);
    for (const StoredTensor& x : file.tensors()) { // a run that made such a state is not one to measure or start from
        if (!is_moment(x)) continue;
        std::vector<float> numbers(x.bytes / sizeof(float));
        std::memcpy(numbers.data(), x.data, numbers.size() * sizeof(float));
        if (x.dtype == "F32" && !Tape::finite(numbers.data(), static_cast<int64_t>(numbers.size())))
            refuse_not_finite(path, x.name);
    }
}

void take_step(const SafetensorsFile& file, const std::string& path, Trainer& t) {
    const int64_t step = require_number(file, path, "step");
    if (step > t.steps_total())
        fail(Exit::bad_data, "{}: step {} is beyond the {} steps of this run", path, step, t.steps_total());
    t.set_steps_done(step);
}

} // namespace

uint64_t data_hash_of(const std::string& path) { return data_hash_in(SafetensorsFile(path), path); }

void expect_data(const std::string& path, uint64_t hash, const Options& o) {
    expect_same_data(SafetensorsFile(path), path, hash, o);
}

Progressed load_checkpoint(const std::string& path, Trainer& t, std::string* note) {
    const SafetensorsFile file(path);
    Options stored = options_in(file, path), ours = t.options();
    stored.train.data = ours.train.data, stored.train.test_data = ours.train.test_data; // they may have moved
    stored.model.backbone = ours.model.backbone;
    stored.train.added_epochs = ours.train.added_epochs; // the steps made are within them: take_step
    const bool generated = generates(ours);
    if (!generated) expect_same_data(file, path, t.data_hash(), ours); // first: options follow from data
    if (const auto d = difference(stored, ours, [](const Option& o) { return o.group != Option::run; }))
        fail(Exit::bad_data,
             "{}: it was made with {} = {}, this run has {}; resume it with its own options, or start a new run", path,
             d->first.key, d->first.text(), d->second.text());
    if (generated) expect_same_data(file, path, t.data_hash(), ours);
    if (std::none_of(file.tensors().begin(), file.tensors().end(), is_moment))
        fail(Exit::bad_data,
             "{}: it has no AdamW state, so its run cannot be resumed; start a new run from it with fci train "
             "--init-from",
             path);
    if (file.tensors().size() != 3 * t.infos().size())
        fail(Exit::bad_data, "{}: it has {} tensors, this model needs {}", path, file.tensors().size(),
             3 * t.infos().size());
    const Progressed progressed{require_number(file, path, "log_bytes"),
                                static_cast<int>(require_number(file, path, "transition_epoch"))};
    fill_parameters(file, path, t);
    fill(file, path, moments[0], t.infos(), t.edit().optimiser.m);
    fill(file, path, moments[1], t.infos(), t.edit().optimiser.v);
    take_step(file, path, t);
    if (note) *note = other_bits(file, t.options().model);
    return progressed;
}

void load_model(const std::string& path, Trainer& t) {
    const SafetensorsFile file(path);
    fill_parameters(file, path, t);
    take_step(file, path, t);
}

uint64_t load_start(const std::string& path, Trainer& t) {
    const SafetensorsFile file(path);
    if (file.metadata().contains("format")) { // written by fci: it says which model it is of
        Options stored = options_in(file, path), ours = t.options();
        stored.model.backbone = ours.model.backbone;
        if (const auto d = difference(stored, ours, [](const Option& o) { return o.group == Option::model; }))
            fail(Exit::usage, "--init-from {}: its model has {} {}, this run has {}; give this run the same flag", path,
                 d->first.flag(), d->first.text(), d->second.text());
    }
    fill_parameters(file, path, t);
    return file.hash();
}

} // namespace fci
