#include "train/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <type_traits>

#include "core/nearest.h"
#include "routing/router.h"
#include "train/options_toml.h"
#include "train/provenance.h"

namespace fci {

std::vector<Option> table(Options& o) {
    std::vector<Option> t;
    Option::Group group = Option::task;
    const auto any = [&](const char* key, auto* value, const char* help) {
        t.push_back({key, help, value, {}, 0, 0, group});
    };
    const auto word = [&](const char* key, std::string* value, std::vector<std::string> allowed, const char* help) {
        t.push_back({key, help, value, std::move(allowed), 0, 0, group});
    };
    const auto number = [&](const char* key, auto* value, double low, double high, const char* help) {
        t.push_back({key, help, value, {}, low, high, group});
    };
    const double no_limit = 1e300, many = 2147483647, size = 1 << 20;

    TaskOptions& k = o.task;
    word("task", &k.task, {"der", "mqar", "hotpotqa", "other"}, "der: distant evidence retrieval; mqar; hotpotqa");
    number("length", &k.length, 0, size, "sequence length L; 0: the task's own (der 512, mqar 256, hotpotqa 1024)");
    word("variant", &k.variant, {"far", "near", "semantic"}, "der: where the answer is, how it matches");
    word("distractor_key", &k.distractor_key, {"same", "other"},
         "der: the distractors carry the query's key, or another");
    word("answer_side", &k.answer_side, {"after", "either", "before"}, "der: where the answer is, seen from the query");
    word("query_row", &k.query_row, {"key", "marker"},
         "der, mqar: the row that asks is the key's, or the one before it, which holds no key");
    word("query_at", &k.query_at, {"uniform", "early", "fixed"},
         "der: the key's row: any, one of the first eighth, or the one at a tenth of the length");
    any("filler_repeats_key", &k.filler_repeats_key, "der: filler may be the query's key");
    number("n_distractors", &k.n_distractors, 0, size, "der: distractor pairs");
    number("min_distance", &k.min_distance, 1, size, "der: least distance of the answer (near: of the distractors)");
    number("near_window", &k.near_window, 1, size, "der: greatest distance of the distractors (near: of the answer)");
    word("queries", &k.queries, {"one", "many"}, "mqar: one (the paper) or many (Zoology)");
    number("pairs", &k.pairs, 1, size, "mqar: key-value pairs");
    number("vocab", &k.vocab, 0, 1 << 24, "tokens; 0: the task's own (256; mqar with many queries, and hotpotqa 8192)");
    any("random_non_queries", &k.random_non_queries, "mqar, many queries: the rest is random, not 0");

    group = Option::model;
    ModelOptions& m = o.model;
    any("representation", &m.representation, "what mixes the tokens before the router: KIND or KIND:N");
    word("router", &m.router, router_names(), "what chooses positions; none: head(LN x_q) alone");
    word("positions", &m.positions, {"everywhere", "in_mixer", "none"},
         "who gets position embeddings: all but content-only, attention only, nobody");
    word("embeddings", &m.embeddings, {"learned", "structured", "anchors"},
         "how token embeddings start and what they add: N(0,0.02); N(0,0.02) a concept + N(0,0.01) a token; an anchor "
         "a concept");
    any("mean_residual", &m.mean_residual, "global-mean: adds x_j to the mean");
    any("router_norm", &m.router_norm, "LayerNorm of what the router sees; the Council sees it as it is");
    number("d_model", &m.d_model, 1, 1 << 16, "width");
    number("heads", &m.heads, 1, 1 << 10, "attention heads");
    number("top_k", &m.top_k, 1, size, "positions that the router chooses");

    group = Option::train;
    TrainOptions& n = o.train;
    number("learning_rate", &n.learning_rate, 0, 1e6, "the highest of the one-cycle schedule");
    number("weight_decay", &n.weight_decay, 0, 1e6, "AdamW's, of every parameter");
    number("clip", &n.clip, 0, no_limit, "greatest global norm of the gradient; 0: none");
    number("sequences", &n.sequences, 1, many, "training sequences");
    number("test_sequences", &n.test_sequences, 1, many, "test sequences; ten times as many in the final test");
    number("epochs", &n.epochs, 1, size, "epochs that the schedules span");
    number("batch", &n.batch, 1, size, "sequences a step");
    number("seed", &n.seed, 0, 9007199254740992.0, "of data, start values and order");
    word("contrastive", &n.contrastive, {"none", "frozen", "finetuned"},
         "10 epochs of InfoNCE first; then Wq and Wk stay, or learn on");
    word("contrastive_target", &n.contrastive_target, {"projections", "embeddings"}, "what --contrastive trains");
    word("bandit_context", &n.bandit_context, {"concat", "product"}, "bandits: of the embeddings of query and arm");
    any("data", &n.data, "train on this folder of .npy files (fci generate makes one); hotpotqa: on this file");
    any("test_data", &n.test_data, "test on this folder, or file; without it the last of --data is held out");

    group = Option::run;
    RunOptions& r = o.run;
    number("threads", &r.threads, 0, 1024, "worker threads; 0: one a processor; changes no bit of the result");
    word("device", &r.device, {"auto", "cpu", "cuda"}, "where to compute; auto: on a GPU where there is one");
    any("tf32", &r.tf32, "on a GPU: products in TF32, with 10 bits after the point");
    number("stop_after", &r.stop_after, 0, size, "stop after this many epochs, schedules unchanged; 0: run all");
    number("checkpoint_every", &r.checkpoint_every, 0, many, "steps between checkpoints; 0: one epoch");
    any("out", &r.out, "run folder; default: a new one in runs/out");
    any("resume", &r.resume, "continue the run in this folder");
    any("quiet", &r.quiet, "no progress");
    any("json", &r.json, "end with one JSON object on standard output");
    return t;
}

std::string flag_of(const std::string& key) {
    std::string f = "--" + key;
    std::replace(f.begin(), f.end(), '_', '-');
    return f;
}

std::string Option::flag() const { return flag_of(key); }

std::string Option::text() const {
    return std::visit(
        [](auto* p) -> std::string {
            using T = std::remove_pointer_t<decltype(p)>;
            if constexpr (std::is_same_v<T, std::string>) {
                return json_quote(*p); // a TOML string is written as a JSON one
            } else if constexpr (std::is_same_v<T, double>) {
                const std::string s = fmt::format("{}", *p); // shortest that reads back the same
                return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;
            } else
                return fmt::format("{}", *p);
        },
        value);
}

namespace {

void check_range(const Option& o, double x, const std::string& where, Exit code) {
    if (!(x >= o.low && x <= o.high))
        fail(code, "{}: must be from {:.10g} to {:.10g}, not {:.10g}", where, o.low, o.high, x);
}

template <class T>
T number_from(const std::string& text, const std::string& flag, const char* kind) {
    T x{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x);
    if (error != std::errc() || end != text.data() + text.size())
        fail(Exit::usage, "{} {}: {} is wanted here", flag, text, kind);
    return x;
}

} // namespace

void set_from_text(const Option& o, const std::string& text) {
    const std::string where = o.flag() + " " + text;
    std::visit(
        [&](auto* p) {
            using T = std::remove_pointer_t<decltype(p)>;
            if constexpr (std::is_same_v<T, std::string>) {
                if (text.empty()) fail(Exit::usage, "{} '': a value is wanted here", o.flag());
                if (!o.allowed.empty()) expect_one_of(o.flag(), text, o.allowed);
                *p = text;
            } else if constexpr (std::is_same_v<T, bool>) {
                if (text != "true" && text != "false") fail(Exit::usage, "{}: true or false is wanted here", where);
                *p = text == "true";
            } else {
                const T x = number_from<T>(text, o.flag(), std::is_same_v<T, double> ? "a number" : "a whole number");
                check_range(o, static_cast<double>(x), where, Exit::usage);
                *p = x;
            }
        },
        o.value);
}

toml::table parse_toml(const std::string& text, const std::string& file, Exit code) {
    try {
        return toml::parse(text, file);
    } catch (const toml::parse_error& e) {
        fail(code, "{}:{}:{}: not TOML: {}", file, e.source().begin.line, e.source().begin.column, e.description());
    }
}

const Option& set_from_toml(const std::vector<Option>& all, const std::string& key, const toml::node& node,
                            const std::string& file, Exit code, std::vector<std::string> others) {
    const std::string where = fmt::format("{}:{}: {}", file, node.source().begin.line, key);
    std::string name = key;
    for (char& c : name)
        if (c == '-') c = '_';
    const auto found = std::find_if(all.begin(), all.end(), [&](const Option& o) { return o.key == name; });
    if (found == all.end()) {
        for (const Option& o : all) others.push_back(o.key);
        fail(code, "{}: no such option{}", where, did_you_mean(name, others));
    }
    const auto wrong = [&](const char* kind) { fail(code, "{}: {} is wanted here", where, kind); };
    std::visit(
        [&](auto* p) {
            using T = std::remove_pointer_t<decltype(p)>;
            if constexpr (std::is_same_v<T, std::string>) {
                if (!node.is_string()) wrong("a string, in quotes,");
                const std::string word = node.template value<std::string>().value();
                if (!found->allowed.empty()) expect_one_of(where + " =", word, found->allowed, code);
                *p = word;
            } else if constexpr (std::is_same_v<T, bool>) {
                if (!node.is_boolean()) wrong("true or false");
                *p = node.template value<bool>().value();
            } else if constexpr (std::is_same_v<T, double>) {
                if (!node.is_number()) wrong("a number");
                check_range(*found, node.template value<double>().value(), where, code);
                *p = node.template value<double>().value();
            } else {
                if (!node.is_integer()) wrong("a whole number");
                const int64_t x = node.template value<int64_t>().value();
                check_range(*found, static_cast<double>(x), where, code);
                *p = static_cast<T>(x);
            }
        },
        found->value);
    return *found;
}

void read_toml(Options& options, const std::string& text, const std::string& file, Exit code) {
    const toml::table doc = parse_toml(text, file, code);
    const std::vector<Option> all = table(options);
    for (const auto& [key, node] : doc)
        if (key.str() != "provenance") // what config.toml records besides
            set_from_toml(all, std::string(key.str()), node, file, code);
}

std::string write_toml(Options o, bool with_run) {
    std::string text;
    for (const Option& entry : table(o))
        if (with_run || entry.group != Option::run) text += entry.key + " = " + entry.text() + "\n";
    return text;
}

namespace {

// "auto" takes a GPU where there is one.
void choose_device(Options& o) {
    const Gpu gpu = o.run.device == "cpu" ? Gpu{} : find_gpu();
    if (o.run.device == "cuda" && !gpu.present)
        fail(Exit::usage, "--device cuda: {}. Without a GPU use --device cpu (or leave it out)", gpu.why);
    if (o.run.device == "auto") o.run.device = gpu.present && !gpu.emulated ? "cuda" : "cpu";
    if (o.run.tf32 && o.run.device == "cpu")
        fail(Exit::usage, "--tf32 is for products on a GPU, and this run is on the CPU: leave it out");
    if (o.run.tf32 && o.run.device == "cuda") cuda::allow_tf32();
}

} // namespace

void resolve(Options& o) {
    for (std::string* folder : {&o.train.data, &o.train.test_data}) // a run may be resumed from anywhere
        if (!folder->empty()) *folder = std::filesystem::absolute(*folder).lexically_normal().string();
    const bool text = o.task.task == "hotpotqa";
    if (o.train.data.empty() || text) {
        if (!o.train.test_data.empty() && !text) fail(Exit::usage, "--test-data needs --data too");
        o.task = resolve(o.task);
        check_model(o.model, o.task.vocab, o.task.length);
        if (o.train.data.empty() && o.train.batch > o.train.sequences)
            fail(Exit::usage, "--batch {} is more than --sequences {}: there would be no whole batch", o.train.batch,
                 o.train.sequences);
    } else
        check_model(o.model, 1 << 24, no_length); // again, by the trainer, once the data is read
    if (text && (!router_kind(o.model.router).build))
        fail(Exit::usage,
             "--router {}: hotpotqa is learned by routing alone, to several right positions and no answer token, which "
             "this router cannot; fci eval --task hotpotqa --method bm25 (bloom, random) measures indices",
             o.model.router);
    if (o.train.contrastive != "none" && !router_kind(o.model.router).contrasts)
        fail(Exit::usage, "--contrastive {} trains Wq and Wk: it needs --router investigator, not {}",
             o.train.contrastive, o.model.router);
    o.model.seed = static_cast<uint64_t>(o.train.seed);
    if (!std::isfinite(o.train.learning_rate) || o.train.learning_rate <= 0)
        fail(Exit::usage, "--learning-rate {} must be above 0", o.train.learning_rate);
    if (o.run.stop_after > o.train.epochs)
        fail(Exit::usage, "--stop-after {} is more than --epochs {}", o.run.stop_after, o.train.epochs);
    if (o.run.threads == 0) o.run.threads = Workers::available();
    choose_device(o);
}

} // namespace fci
