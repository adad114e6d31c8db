#include "train/checkpoint.h"

#include <charconv>
#include <cstring>

#include "core/gemm.h"
#include "nn/representation.h"
#include "train/provenance.h"
#include "train/safetensors.h"

namespace fci {
namespace {

const std::string format = "fci checkpoint 1";

const std::string& require_metadata(const SafetensorsFile& file, const std::string& path, const std::string& key) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end())
        fail(Exit::bad_data, "{}: not a checkpoint of fci: its metadata has no '{}'", path, key);
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

// Why a run that goes on from here will not have the bits that it would have had where it began; "": it will.
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
    Options o = options_in(SafetensorsFile(path), path);
    o.run = how;
    resolve(o);
    return o;
}

Progressed load_checkpoint(const std::string& path, Trainer& t, std::string* note) {
    const SafetensorsFile file(path);
    Options stored = options_in(file, path), ours = t.options();
    const std::vector<Option> a = table(stored), b = table(ours);
    for (size_t i = 0; i < a.size(); ++i)
        if (a[i].group != Option::run && a[i].text() != b[i].text())
            fail(Exit::bad_data,
                 "{}: it was made with {} = {}, this run has {}; resume it with the options it has, or start anew",
                 path, a[i].key, a[i].text(), b[i].text());
    if (require_metadata(file, path, "data_hash") != fmt::format("{:016x}", t.data_hash()))
        fail(Exit::bad_data, "{}: it was trained on other data than {} holds now", path,
             ours.train.data.empty() ? "this version generates" : ours.train.data);
    const int64_t step = require_number(file, path, "step");
    if (step > t.steps_total())
        fail(Exit::bad_data, "{}: step {} is beyond the {} of this run", path, step, t.steps_total());
    const auto fill = [&](const std::string& prefix, std::vector<float>& block) {
        for (const ParameterInfo& p : t.infos()) {
            const StoredTensor& from = file.require(prefix + p.name, "F32", sizes(p.shape));
            std::memcpy(block.data() + p.offset, from.data, from.bytes);
            if (!Tape::finite(block.data() + p.offset, p.shape.size()))
                fail(Exit::non_finite, "{}: {} has a NaN or Inf; take an earlier checkpoint, or train anew", path,
                     prefix + p.name);
        }
    };
    if (file.tensors().size() != 3 * t.infos().size())
        fail(Exit::bad_data, "{}: it has {} tensors, this model needs {}", path, file.tensors().size(),
             3 * t.infos().size());
    Numbers& into = t.edit();
    fill("", into.parameters);
    fill("adamw.m/", into.optimiser.m);
    fill("adamw.v/", into.optimiser.v);
    t.set_steps_done(step);
    if (note) *note = other_bits(file, t.options().model);
    return {require_number(file, path, "log_bytes"), static_cast<int>(require_number(file, path, "transition_epoch"))};
}

} // namespace fci
