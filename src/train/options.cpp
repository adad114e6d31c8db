#include "train/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "core/json.h"
#include "core/nearest.h"
#include "core/workers.h"
#include "pretrained/features.h"
#include "routing/router.h"
#include "tasks/task.h"
#include "train/options_toml.h"
#include "train/provenance.h"

namespace fci {

std::vector<Option> table(Options& o) {
    OptionTable t{Option::train, option_table(o.task)};
    t.append(option_table(o.model));
    TrainOptions& n = o.train;
    t.number("learning_rate", &n.learning_rate, 0, 1e6, "highest rate of the one-cycle schedule");
    t.number("weight_decay", &n.weight_decay, 0, 1e6, "AdamW's weight decay, for every parameter");
    t.number("clip", &n.clip, 0, no_limit, "maximum global norm of the gradient; 0: no clipping");
    t.number("sequences", &n.sequences, 1, most_of_int, "training sequences");
    t.number("test_sequences", &n.test_sequences, 1, most_of_int,
             "test sequences; ten times as many in the final test");
    t.number("epochs", &n.epochs, 1, largest_size, "epochs that the schedules span; with --resume, +N adds N epochs");
    t.number("added_epochs", &n.added_epochs, 0, largest_size,
             "epochs after the schedules' end, at learning_rate / 25 and the last weights of the losses");
    t.number("batch", &n.batch, 1, largest_size, "sequences per step; an epoch's incomplete last batch is dropped");
    t.number("seed", &n.seed, 0, 9007199254740992.0, "seed of the data, the initial values and the order");
    t.word("contrastive", &n.contrastive, {"none", "frozen", "finetuned"},
           "10 epochs of InfoNCE first; then Wq and Wk stay frozen, or keep training");
    t.word("contrastive_target", &n.contrastive_target, {"projections", "embeddings"}, "what --contrastive trains");
    t.word("bandit_context", &n.bandit_context, {"concat", "product"},
           "bandits: how the embeddings of query and arm are combined");
    t.any("data", &n.data, "train on this folder of .npy files (fci generate makes one); hotpotqa: on this file");
    t.any("test_data", &n.test_data, "test on this folder or file; without it, the end of --data is held out");
    t.any("init_from", &n.init_from,
          "start from the weights of this checkpoint or run folder; AdamW and schedules start from zero");

    t.group = Option::run;
    RunOptions& r = o.run;
    t.number("threads", &r.threads, 0, 1024, "worker threads; 0: one per processor; the result has the same bits");
    t.word("device", &r.device, {"auto", "cpu", "cuda"}, "where to compute; auto: on a GPU if there is one");
    t.word("precision", &r.precision, {std::begin(precision_names), std::end(precision_names)},
           "on a GPU, of matrix products; tf32 has 10 bits of mantissa, the others float32's accuracy");
    t.number("stop_after", &r.stop_after, 0, largest_size,
             "stop after this many epochs, schedules unchanged; 0: run all");
    t.number("checkpoint_every", &r.checkpoint_every, 0, most_of_int, "steps between checkpoints; 0: one epoch");
    t.any("backbone_cache", &r.backbone_cache,
          "folder for a backbone's cached hidden states; none: recomputed each time");
    t.any("out", &r.out, "run folder; default: a new one in runs/out");
    t.any("resume", &r.resume, "continue the run in this folder, or of this checkpoint.safetensors");
    t.any("tensorboard", &r.tensorboard, "also write the numbers of log.jsonl as an event file for TensorBoard");
    t.any("quiet", &r.quiet, "no progress");
    t.any("json", &r.json, "end with one JSON object on standard output");
    return t.all;
}

void toml_gave_up() { throw std::invalid_argument("it cannot be parsed"); }

namespace {

// Refuses what toml++ cannot take: keys of so many parts that it runs out of stack, six quotes at the end of a string,
// and others than ASCII outside of strings and comments, where its table of white space has no way out for some.
// Follows strings and comments only, which suffices up to the first error.
void check_toml(std::string_view text, const std::string& file, Exit code) {
    constexpr int most_parts = 32;
    int parts = 1;
    const auto refuse = [&](size_t at, const std::string& what) {
        fail(code, "{}:{}: not TOML: {}", file,
             1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(at), '\n'), what);
    };
    for (size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (static_cast<unsigned char>(c) >= 0x80) {
            refuse(i, "a character outside ASCII must be in quotes");
        } else if (c == '#') {
            i = std::min(text.find('\n', i), text.size());
        } else if (c == '"' || c == '\'') {
            const std::string three(3, c);
            const bool lines = text.substr(i).starts_with(three);
            for (i += lines ? 3 : 1; i < text.size(); ++i) {
                if (text[i] == '\\' && c == '"')
                    ++i;
                else if (lines ? text.substr(i).starts_with(three) : text[i] == c || text[i] == '\n')
                    break;
            }
            const size_t end = std::min(text.find_first_not_of(c, i), text.size());
            if (lines && end > i + 5) refuse(i, "more than five quotes at the end of a string");
            i = lines ? end : i + 1;
        } else {
            if (c == '.' && ++parts > most_parts) refuse(i, fmt::format("a key of more than {} parts", most_parts));
            if (c != '.' && std::strchr("=,{}[]\n", c)) parts = 1;
            ++i;
        }
    }
}

// All that is not ASCII in hexadecimal: from an error on, toml++ looks for white space in what was a string, too.
std::string in_ascii(const std::string& text) {
    std::string plain;
    for (const char c : text)
        plain += static_cast<unsigned char>(c) < 0x80 ? std::string(1, c)
                                                      : fmt::format("{:02x}", static_cast<unsigned char>(c));
    return plain;
}

void refuse_nul(const toml::node& node, const std::string& file, Exit code) {
    const auto refuse = [&] { fail(code, "{}:{}: NUL in a string", file, node.source().begin.line); };
    if (const auto* table = node.as_table())
        for (const auto& [key, value] : *table)
            key.str().find('\0') != std::string_view::npos ? refuse() : refuse_nul(value, file, code);
    else if (const auto* array = node.as_array())
        for (const toml::node& value : *array) refuse_nul(value, file, code);
    else if (const auto* text = node.as_string(); text && text->get().find('\0') != std::string::npos)
        refuse();
}

} // namespace

toml::table parse_toml(const std::string& given, const std::string& file, Exit code) {
    const std::string text = given.substr(given.starts_with("\xEF\xBB\xBF") ? 3 : 0);
    check_toml(text, file, code);
    const auto parse = [&] {
        if (const std::string plain = in_ascii(text); plain != text)
            static_cast<void>(toml::parse(plain, file)); // throws at errors
        return toml::parse(text, file);
    };
    const auto parse_twice = [&] { // toml++ calls a number wrong when it has no memory to read it: twice, and it is
        try {
            return parse();
        } catch (const toml::parse_error&) {
            return parse();
        }
    };
    try {
        toml::table doc = parse_twice();
        refuse_nul(doc, file, code);
        return doc;
    } catch (const std::invalid_argument& e) {
        fail(code, "{}: not TOML: {}; look for brackets that are not closed", file, e.what());
    } catch (const toml::parse_error& e) {
        fail(code, "{}:{}:{}: not TOML: {}", file, e.source().begin.line, e.source().begin.column, e.description());
    }
}

void refuse_twice(const Option& o, const toml::node& node, const std::string& file, Exit code) {
    fail(code, "{}:{}: {} is also given as {}; keep one of them", file, node.source().begin.line, o.key,
         o.flag().substr(2));
}

const Option& set_from_toml(const std::vector<Option>& all, const std::string& key, const toml::node& node,
                            const std::string& file, Exit code, std::vector<std::string> others) {
    const std::string where = fmt::format("{}:{}: {}", file, node.source().begin.line, key);
    const Option* option = find_option(all, key);
    if (!option) {
        for (const Option& o : all) others.push_back(o.key);
        fail(code, "{}: no such option{}", where, did_you_mean(key, others));
    }
    OptionValue v;
    if (node.is_string())
        v = node.value<std::string>().value();
    else if (node.is_boolean())
        v = node.value<bool>().value();
    else if (node.is_integer())
        v = node.value<int64_t>().value();
    else if (node.is_floating_point())
        v = node.value<double>().value();
    set(*option, v, where, where + " =", code);
    return *option;
}

void read_toml(Options& options, const std::string& text, const std::string& file, Exit code) {
    const toml::table doc = parse_toml(text, file, code);
    const std::vector<Option> all = table(options);
    std::set<std::string> seen;
    for (const auto& [key, node] : doc) {
        if (key.str() == "provenance") continue; // what config.toml records besides
        const Option option = set_from_toml(all, std::string(key.str()), node, file, code);
        if (!seen.insert(option.key).second) refuse_twice(option, node, file, code);
    }
}

std::string write_toml(Options o, bool with_run) {
    std::string text;
    for (const Option& entry : table(o))
        if (with_run || entry.group != Option::run) text += entry.key + " = " + entry.text() + "\n";
    return text;
}

std::optional<std::pair<Option, Option>> difference(Options& a, Options& b,
                                                    const std::function<bool(const Option&)>& counts) {
    const std::vector<Option> of_a = table(a), of_b = table(b);
    for (size_t i = 0; i < of_a.size(); ++i)
        if (counts(of_a[i]) && of_a[i].text() != of_b[i].text()) return std::pair(of_a[i], of_b[i]);
    return {};
}

void choose_device(Options& o) {
    const Gpu gpu = o.run.device == "cpu" ? Gpu{} : find_gpu();
    if (o.run.device == "cuda" && !gpu.present)
        fail(Exit::usage, "--device cuda: {}. Without a GPU use --device cpu (or leave it out)", gpu.why);
    if (o.run.device == "auto") o.run.device = gpu.present && !gpu.emulated ? "cuda" : "cpu";
    if (o.run.precision != "fp32" && o.run.device == "cpu")
        fail(Exit::usage, "--precision {} is for products on a GPU, and this run is on the CPU: leave it out",
             o.run.precision);
    if (o.run.device == "cuda") cuda::set_precision(precision_named(o.run.precision));
}

namespace {

int width_of_map(const std::string& word) {
    int width = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), width);
    if (error != std::errc() || end != word.data() + word.size() || width < 1 || width > 1 << 16)
        fail(Exit::usage, "--backbone-width {}: expected native, or a width from 1 to {}", word, 1 << 16);
    return width;
}

} // namespace

void resolve_backbone(Options& o) {
    ModelOptions& m = o.model;
    if (!m.has_backbone()) {
        if (!m.backbone_hash.empty())
            fail(Exit::usage, "--backbone-hash {}: it needs --backbone FOLDER", m.backbone_hash);
        return;
    }
    const auto backbone = shared_backbone(m.backbone, m.backbone_weights == "random");
    const Backbone::Shape& shape = backbone->shape();
    const std::string hash = fmt::format("{:016x}", backbone->hash());
    if (!m.backbone_hash.empty() && m.backbone_hash != hash)
        fail(Exit::bad_data,
             "{}: this is another backbone: its hash is {}, not {}; if the right one has moved, name its folder with "
             "--backbone",
             m.backbone, hash, m.backbone_hash);
    m.backbone_hash = hash;
    if (m.backbone_layer > shape.layers)
        fail(Exit::usage, "--backbone-layer {}: the backbone has {} layers; expected 0 to that number, or -1",
             m.backbone_layer, shape.layers);
    if (m.backbone_layer == shape.layers) m.backbone_layer = -1; // one name of the same states
    m.feature_width = shape.width;
    m.d_model = m.backbone_width == "native" ? shape.width : width_of_map(m.backbone_width);
    const bool read = !o.train.data.empty() && !task_of(o.task).is_text; // then the data say it
    if (!read && o.task.vocab > shape.vocab)
        fail(Exit::usage, "--vocab {}: the backbone has only {} tokens; choose a smaller --vocab", o.task.vocab,
             shape.vocab);
    if (!read && shape.longest && o.task.length > shape.longest)
        fail(Exit::usage, "--length {}: the backbone has only {} positions; choose a shorter --length", o.task.length,
             shape.longest);
    if (o.train.contrastive != "none")
        fail(Exit::usage,
             "--contrastive {} and --backbone: contrastive pretraining trains embeddings, and here there are none; "
             "leave one out",
             o.train.contrastive);
}

void resolve(Options& o) {
    for (std::string* path : {&o.train.data, &o.train.test_data, &o.train.init_from, &o.model.backbone})
        if (!path->empty()) { // resumed from anywhere
            *path = std::filesystem::absolute(*path).lexically_normal().string();
            if (!is_utf8(*path))
                fail(Exit::usage,
                     "{}: the name is not UTF-8, so config.toml cannot hold it; rename it, or make a link to it",
                     *path);
        }
    const bool text = task_of(o.task).is_text;
    if (o.train.data.empty() || text) {
        if (!o.train.test_data.empty() && !text) fail(Exit::usage, "--test-data needs --data too");
        o.task = resolve(o.task);
        resolve_backbone(o);
        check_model(o.model, o.task.vocab, o.task.length);
        if (o.train.data.empty() && o.train.batch > o.train.sequences && router_kind(o.model.router).learns())
            fail(Exit::usage, "--batch {} is more than --sequences {}: there would be no whole batch", o.train.batch,
                 o.train.sequences);
    } else {
        resolve_backbone(o);
        check_model(o.model, 1 << 24, no_length); // again, by the trainer, once the data is read
    }
    if (text && (!router_kind(o.model.router).build))
        fail(Exit::usage,
             "--router {}: {} has several right positions and no answer token, so a router learns it from the routing "
             "loss alone; this router cannot. fci eval --task hotpotqa --method bm25 (bloom, random) measures indices",
             o.model.router, o.task.task);
    if (o.train.contrastive != "none" && !router_kind(o.model.router).contrasts)
        fail(Exit::usage, "--contrastive {} trains Wq and Wk: it needs --router investigator, not {}",
             o.train.contrastive, o.model.router);
    o.model.seed = static_cast<uint64_t>(o.train.seed);
    if (!std::isfinite(o.train.learning_rate) || o.train.learning_rate <= 0)
        fail(Exit::usage, "--learning-rate {} must be above 0", o.train.learning_rate);
    if (o.run.stop_after > o.train.all_epochs())
        fail(Exit::usage, "--stop-after {} is more than --epochs {}", o.run.stop_after, o.train.all_epochs());
    if (o.run.threads == 0) o.run.threads = Workers::available();
    choose_device(o);
}

} // namespace fci
