#include "study/hotpot_commands.h"

#include <algorithm>
#include <filesystem>

#include "core/check.h"
#include "core/files.h"
#include "tasks/hotpot_text.h"
#include "tasks/hotpot_world.h"
#include "train/provenance.h"

namespace fci {
namespace {

int threads_of(int asked) { return asked ? asked : Workers::available(); }

// The first `columns` columns of a text, each character counted as one; "..." at the cut.
std::string cut(std::string_view text, int columns) {
    std::string line;
    int used = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if ((c & 0xC0) != 0x80 && ++used > columns) { // characters before this one are complete
            for (int dots = 0; dots < 3 && !line.empty(); ++dots) {
                while (line.size() > 1 && (line.back() & 0xC0) == 0x80) line.pop_back();
                line.pop_back();
            }
            return line + "...";
        }
        line += c < 0x20 || c == 0x7F ? ' ' : static_cast<char>(c); // no escape sequences from data
    }
    return line;
}

std::string numbers(const std::vector<int>& list) { return fmt::format("{}", fmt::join(list, ",")); }

// Escaped for tab-separated values: \t, \n, \r and \\ for characters that would end the cell.
std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const size_t at = std::string_view("\t\n\r\\").find(c);
        at == std::string_view::npos ? out += c : (out += '\\') += "tnr\\"[at];
    }
    return out;
}

void write_per_example(const std::string& path, const std::vector<HotpotExample>& examples, const HotpotResult& r) {
    std::string text = "id\tchosen\tsupporting\tany\tall\n";
    for (size_t i = 0; i < examples.size(); ++i) {
        const HotpotFound& f = r.found[i];
        if (f.begins.empty()) continue;
        const auto is_correct = [&](int u) { return std::binary_search(f.correct.begin(), f.correct.end(), u); };
        const auto hits = std::count_if(f.chosen.begin(), f.chosen.end(), is_correct);
        text += fmt::format("{}\t{}\t{}\t{:d}\t{:d}\n", cell(examples[i].id), numbers(f.chosen), numbers(f.correct),
                            hits > 0, f.all);
    }
    write_file_atomically(path, text);
}

Json options_json(const HotpotOptions& o) {
    Json j = Json::object();
    j.add("method", o.method).add("unit", o.unit).add("top_k", o.top_k);
    if (o.unit == "segments") j.add("segments", o.segments);
    if (o.method == "bm25") j.add("bm25", o.bm25.variant).add("k1", o.bm25.k1).add("b", o.bm25.b);
    if (o.method != "random") j.add("tokeniser", o.tokeniser);
    if (o.method != "bm25") j.add("seed", o.seed);
    return j;
}

void print_json(const HotpotCommand& c, const HotpotFile& file, const HotpotResult& r) {
    Json j = Json::object(), skipped = Json::object(), from = Json::object();
    skipped.add("malformed", file.malformed).add("too_few_sentences", r.too_short);
    skipped.add("no_supporting_sentence", r.without_support);
    j.add("task", "hotpotqa").merge(options_json(c.options)).add("n", r.examples).add("skipped", skipped);
    j.add("lost_facts", file.lost_facts).add("right_units", r.correct_units);
    for (size_t m = 0; m < r.numbers.size(); ++m) {
        const HotpotResult::Number& x = r.numbers[m];
        Json number = Json::object();
        number.add("value", x.value).add("low", x.low).add("high", x.high).add("chance", x.chance);
        j.add(HotpotMeasure::names[m], number);
    }
    for (const auto& [name, value] : provenance()) from.add(name, value);
    from.add("data", c.data).add("data_hash", fmt::format("{:016x}", file.hash));
    fmt::print("{}\n", j.add("seconds", Json::number("{:.3f}", r.seconds)).add("provenance", from).text());
}

void print_table(const HotpotCommand& c, const HotpotResult& r) {
    const HotpotOptions& o = c.options;
    fmt::print("{}: {} examples of {}, the best {} of {} each\n", o.method, r.examples, c.data, o.top_k,
               o.unit == "segments" ? fmt::format("{} segments", o.segments) : "all " + o.unit);
    if (r.too_short + r.without_support)
        fmt::print("left out: {} with fewer than {} sentences, {} without a supporting sentence\n", r.too_short,
                   o.segments, r.without_support);
    fmt::print("{:<16}{:>7}   {:<15}{:>7}\n", "percent", "value", "95% interval", "chance");
    for (size_t m = 0; m < r.numbers.size(); ++m) {
        const HotpotResult::Number& x = r.numbers[m];
        fmt::print("{:<16}{:7.1f}   {:<15}{:7.1f}\n", HotpotMeasure::names[m], x.value,
                   fmt::format("{:.1f} - {:.1f}", x.low, x.high), x.chance);
    }
    fmt::print("{} that hold a supporting sentence: {:.2f} per example; {:.2f} s\n", o.unit, r.correct_units,
               r.seconds);
}

std::string inked(const ShowStyle& style, const std::string& text, const char* code) {
    return style.colour ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

void print_line(const char* name, std::string_view text) { fmt::print("{:<10}{}\n", name, cut(text, 1 << 20)); }

void print_heading(const HotpotExample& x, const std::string& title) {
    std::string kind; // the file's words for it
    for (const std::string& part : {cut(x.id, 80), cut(x.type, 20), cut(x.level, 20)})
        if (!part.empty()) kind += part + ", ";
    fmt::print("{}: id {}{} sentences in {} paragraphs\n", title, kind, x.sentences.size(), x.paragraphs.size());
    print_line("question", x.question), print_line("answer", x.answer);
    for (const HotpotExample::Fact& fact : x.facts)
        print_line("fact", fmt::format("{}, sentence {}", fact.title, fact.index));
}

constexpr int margin = 30; // columns before a sentence
void print_sentence(const HotpotExample& x, uint32_t s, const std::string& left, bool chosen, const ShowStyle& style) {
    const bool supporting = std::binary_search(x.supporting.begin(), x.supporting.end(), s);
    const std::string_view text = x.sentences[s];
    const std::string shown = cut(text.substr(text.starts_with(' ')), std::max(20, style.width - margin));
    fmt::print("{}{} {}\n", inked(style, left, chosen ? "1" : "2"), supporting ? "*" : " ",
               supporting ? inked(style, shown, chosen ? "1;32" : "33") : shown);
}

void show_one(const HotpotExample& x, int64_t index, const std::string& title, const HotpotOptions& o,
              const ShowStyle& style) {
    WordIndex scratch(o.tokeniser == "letters" ? Tokeniser::letters : Tokeniser::whitespace);
    const HotpotFound f = find_hotpot(x, index, o, scratch);
    print_heading(x, title);
    if (f.begins.empty()) {
        const bool lost = x.supporting.empty();
        fmt::print("not measured: {}\n", lost ? "no fact names a sentence" : "fewer sentences than segments");
        return;
    }
    const std::string unit = o.unit.substr(0, o.unit.size() - 1);
    fmt::print("{:>9} {:>7} {:>6}   * sentence (* supporting)\n", unit, "score", "choice");
    for (size_t u = 0; u + 1 < f.begins.size(); ++u) {
        const auto rank = std::find(f.chosen.begin(), f.chosen.end(), static_cast<int>(u));
        const bool chosen = rank != f.chosen.end();
        for (uint32_t s = f.begins[u]; s < f.begins[u + 1]; ++s) {
            std::string left(margin - 4, ' ');
            if (s == f.begins[u])
                left = fmt::format("{:>9} {:>7} {:>6}  ", u, f.scores.empty() ? "" : fmt::format("{:.2f}", f.scores[u]),
                                   chosen ? fmt::format("#{}", rank - f.chosen.begin() + 1) : "");
            print_sentence(x, s, left, chosen, style);
        }
    }
    const auto hit = [&](int u) { return std::binary_search(f.correct.begin(), f.correct.end(), u); };
    fmt::print("{} chose {} {}; supporting sentences are in {}: {} of {} found\n", o.method, o.unit, numbers(f.chosen),
               numbers(f.correct), std::count_if(f.chosen.begin(), f.chosen.end(), hit), f.correct.size());
}

} // namespace

void eval_hotpot(const HotpotCommand& c) {
    check_hotpot(c.options);
    if (c.data.empty())
        fail(Exit::usage, "fci eval --task hotpotqa: --data FILE is needed: the official file, or what "
                          "fci generate --task hotpotqa --out FILE.json writes");
    Workers workers(threads_of(c.threads));
    const HotpotFile file = load_reported(c.data, workers);
    if (!c.per_example.empty()) expect_writable(c.per_example);
    const HotpotResult r = evaluate_hotpot(file.examples, c.options, workers, !c.per_example.empty());
    if (!c.per_example.empty()) write_per_example(c.per_example, file.examples, r);
    if (c.json) return print_json(c, file, r);
    if (!c.quiet) print_table(c, r);
}

void show_hotpot(const HotpotCommand& c, const ShowStyle& style) {
    check_hotpot(c.options);
    Workers workers(threads_of(c.threads));
    std::vector<HotpotExample> examples;
    if (c.data.empty()) {
        examples = make_hotpot(c.count, static_cast<uint64_t>(c.options.seed), Stream::train_data, workers);
    } else
        examples = load_reported(c.data, workers).examples;
    const int count = std::min(c.count, static_cast<int>(examples.size()));
    for (int i = 0; i < count; ++i) {
        const std::string of = c.data.empty() ? fmt::format("generated from seed {}", c.options.seed)
                                              : fmt::format("of {} in {}", examples.size(), c.data);
        show_one(examples[i], i, fmt::format("{}Example {} {}", i ? "\n" : "", i + 1, of), c.options, style);
    }
}

namespace {

void show_routed(const HotpotExample& x, const HotpotSequence& s, const Trainer::Look& look, const std::string& title,
                 const ShowStyle& style) {
    print_heading(x, title);
    fmt::print("{:>9} {:>7} {:>6}   * sentence (* supporting)\n", "position", "score", "choice");
    for (size_t n = 0; n < s.starts.size(); ++n) {
        const int begin = s.starts[n],
                  end = n + 1 < s.starts.size() ? s.starts[n + 1] : static_cast<int>(s.tokens.size());
        const auto place = static_cast<size_t>(begin / look.place_length);
        std::string choice;
        for (size_t c = 0; c < look.chosen.size(); ++c)
            if (look.chosen[c] == static_cast<int>(place))
                choice += fmt::format("#{}", c + 1);
            else if (const int at = look.chosen[c] * look.place_length; begin < at && at < end)
                choice += fmt::format("({})", c + 1);
        const std::string score = look.scores.empty() ? "" : fmt::format("{:.2f}", look.scores[place]);
        print_sentence(x, s.sentence[n], fmt::format("{:>9} {:>7} {:>6}  ", begin, score, choice), !choice.empty(),
                       style);
    }
    fmt::print("{} more sentences come after the cut at {}, {} of them supporting\n",
               x.sentences.size() - static_cast<size_t>(s.sentence.back()) - 1, s.tokens.size(), s.correct_cut);
    std::vector<int> positions;
    for (const int32_t p : look.chosen) positions.push_back(p * look.place_length);
    fmt::print("from the separator at {}, the router chose {}; supporting sentences start at {}\n", s.query,
               numbers(positions), numbers({s.correct.begin(), s.correct.end()}));
}

} // namespace

void show_text(Trainer& trainer, const std::string& data, int count, const ShowStyle& style) {
    const Options& o = trainer.options();
    const TrainOptions& t = o.train;
    const std::string& path = !data.empty() ? data : t.test_data.empty() ? t.data : t.test_data;
    const bool held_out = data.empty() && t.test_data.empty() && !t.data.empty();
    std::vector<HotpotExample> file;
    if (!path.empty()) file = load_reported(path, trainer.workers()).examples;
    const int first = held_out ? trainer.train_set().count : 0;
    count = std::min(count, trainer.test_set().count);
    for (int64_t i = 0, sequence = 0; sequence < first + count; ++i) { // makes the test set again, with its text
        HotpotExample made;
        if (path.empty()) made = make_hotpot_example(0, Stream::test_data, i);
        const HotpotExample& x = path.empty() ? made : file[i];
        const HotpotSequence s = hotpot_sequence(x, o.task);
        if (!s.usable() || sequence++ < first) continue;
        const int64_t n = sequence - 1 - first;
        show_routed(x, s, trainer.look(trainer.test_set(), static_cast<int>(n)),
                    fmt::format("{}Test example {}", n ? "\n" : "", n + 1), style);
    }
    fmt::print("#n: the n-th choice is the sentence's first position; (n): it is a later one\n");
}

void generate_hotpot(const std::string& out, int count, uint64_t seed, Stream stream, int threads) {
    if (out.empty()) fail(Exit::usage, "fci generate --task hotpotqa: --out FILE.json is needed");
    if (std::error_code ignored; std::filesystem::exists(out, ignored))
        fail(Exit::usage, "{}: already exists: choose another --out", out);
    Workers workers(threads_of(threads));
    const std::vector<HotpotExample> examples = make_hotpot(count, seed, stream, workers);
    save_hotpot(out, examples);
    fmt::print("{}: {} examples, generated from templates, in HotpotQA's format\n", out, count);
}

} // namespace fci
