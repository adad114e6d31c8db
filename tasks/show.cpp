#include "tasks/show.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/check.h"
#include "tasks/task.h"

namespace fci {

namespace {

constexpr int context = 2;      // neighbours shown beside marked positions
constexpr int least_elided = 4; // shorter runs are shown
constexpr size_t most_listed = 16;

// From low to high: if several apply, the highest one gives the colour.
enum class Ink { none, pair, distractor, query, answer };

struct Cell {
    std::string role, rank;
    Ink ink = Ink::none;
    bool matters = false;
};

class Picture {
public:
    Picture(std::FILE* out, const Dataset& data, int i, const ShowStyle& style)
        : out_(out), style_(style), cells_(data.length), tokens_(&data.tokens[size_t(i) * data.length]) {
        const auto widest = fmt::formatted_size("{}", std::max(data.vocab, data.length));
        cell_ = std::max(4, static_cast<int>(widest)) + 1;
    }

    void mark(int position, const std::string& role, Ink ink) {
        Cell& c = cells_.at(position);
        c.matters = true;
        if (ink < c.ink) return;
        c.role = role, c.ink = ink;
    }
    void rank(int position, size_t place) {
        Cell& c = cells_.at(position);
        c.matters = true;
        c.rank += fmt::format("#{}", place + 1);
    }
    void set_marker(int position) { marker_ = position, cells_.at(position).matters = true; }

    void print() {
        const int L = static_cast<int>(cells_.size());
        std::vector<bool> shown(L);
        for (int p = 0; p < L; ++p)
            if (cells_[p].matters)
                for (int n = std::max(0, p - context); n <= std::min(L - 1, p + context); ++n) shown[n] = true;
        for (int p = 0; p < L;) {
            int end = p;
            while (end < L && shown[end] == shown[p]) ++end;
            if (!shown[p] && end - p >= least_elided) {
                elide(end - p);
            } else {
                for (int n = p; n < end; ++n) add(n);
            }
            p = end;
        }
        flush();
    }

private:
    static constexpr int lines = 4, label = 9; // label: columns of a line's name

    void room(int columns) {
        if (used_ && label + used_ + columns > style_.width) flush();
        used_ += columns;
    }
    std::string ink(const std::string& text, const char* code) const {
        return style_.colour && *code ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
    }
    void add(int p) {
        constexpr const char* codes[] = {"", "36", "33", "1;35", "1;32"};
        const Cell& c = cells_[p];
        const char* code = codes[static_cast<int>(c.ink)];
        const int width = std::max(cell_, static_cast<int>(c.rank.size()) + 1);
        room(width);
        line_[0] += ink(fmt::format("{:>{}}", p, width), "2");
        line_[1] += ink(p == marker_ ? fmt::format("{:>{}}", "QRY", width) : fmt::format("{:>{}}", tokens_[p], width),
                        p == marker_ ? "1;35" : code);
        line_[2] += ink(fmt::format("{:>{}}", c.role, width), code);
        line_[3] += ink(fmt::format("{:>{}}", c.rank, width), "1;7");
        looked_ |= !c.rank.empty();
    }
    void elide(int n) {
        const std::string text = fmt::format("  … {} more …", n);
        const int columns = static_cast<int>(text.size()) - 4; // each of the two … takes three bytes and one column
        room(columns);
        line_[1] += ink(text, "2");
        for (const int l : {0, 2, 3}) line_[l].append(columns, ' ');
    }
    void flush() {
        constexpr const char* names[lines] = {"position", "token", "role", "router"};
        for (int l = 0; l < lines; ++l) {
            std::string& text = line_[l];
            text.erase(text.find_last_not_of(' ') + 1);
            if (!text.empty() && (l < 3 || looked_))
                fmt::print(out_, "{}{}\n", ink(fmt::format("{:<{}}", names[l], label), "2"), text);
            text.clear();
        }
        used_ = 0;
        looked_ = false;
    }

    std::FILE* out_;
    ShowStyle style_;
    std::vector<Cell> cells_;
    const int32_t* tokens_;
    int cell_, marker_ = -1, used_ = 0;
    bool looked_ = false; // the router looked at some position of this line
    std::string line_[lines];
};

std::string choices(const Looked& looked, int answer) {
    std::string list;
    for (size_t n = 0; n < looked.positions.size(); ++n) {
        const int p = looked.positions[n];
        std::string note = n < looked.scores.size() ? fmt::format("{:.2f}", looked.scores[n]) : "";
        if (p == answer) note += note.empty() ? "right" : ", right";
        list += fmt::format("{}#{} {}{}", list.empty() ? "" : ", ", n + 1, p, note.empty() ? "" : " (" + note + ")");
    }
    return list.empty() ? "nothing" : list;
}

} // namespace

void show_example(std::FILE* out, const Dataset& data, int i, const Annotation* annotation, const ShowStyle& style,
                  const std::vector<Looked>* looked) {
    check(0 <= i && i < data.count, "show_example: example {} of {}", i, data.count);
    check(!looked || static_cast<int>(looked->size()) == data.queries, "show_example: {} entries for {} queries",
          looked ? looked->size() : 0, data.queries);
    const int32_t *tokens = &data.tokens[size_t(i) * data.length], *query = &data.query[size_t(i) * data.queries];
    const int32_t *answer = &data.answer[size_t(i) * data.queries], *label = &data.label[size_t(i) * data.queries];
    const bool many = data.queries > 1;

    Picture picture(out, data, i, style);
    if (annotation) {
        for (size_t n = 0; n < annotation->pairs.size(); ++n) {
            picture.mark(annotation->pairs[n], fmt::format("k{}", n + 1), Ink::pair);
            picture.mark(annotation->pairs[n] + 1, fmt::format("v{}", n + 1), Ink::pair);
        }
        for (size_t n = 0; n < annotation->distractors.size(); ++n) {
            picture.mark(annotation->distractors[n], fmt::format("d{}", n + 1), Ink::distractor);
            picture.mark(annotation->distractors[n] + 1, fmt::format(".{}", n + 1), Ink::distractor);
        }
    }
    const int marker = annotation ? annotation->marker : -1;
    if (marker >= 0) picture.set_marker(marker);
    const int key = annotation && annotation->key >= 0 ? annotation->key : query[0];
    if (key != query[0]) picture.mark(key, "key", Ink::query); // the row before it asks
    for (int j = 0; j < data.queries; ++j) {
        picture.mark(query[j], many ? fmt::format("a{}", j + 1) : "ask", Ink::query);
        if (!many) {
            picture.mark(answer[j], "KEY", Ink::answer);
            if (answer[j] + 1 < data.length) picture.mark(answer[j] + 1, "VAL", Ink::answer);
        }
        if (looked && !many) {
            const std::vector<int>& at = (*looked)[j].positions;
            for (size_t n = 0; n < at.size(); ++n) picture.rank(at[n], n);
        }
    }
    picture.print();

    if (!many) {
        fmt::print(out, "From row {} (key {}) the router must choose {} (key {}); the answer is {}.\n", query[0],
                   tokens[key], answer[0], tokens[answer[0]], label[0]);
        if (looked) fmt::print(out, "It chose {}.\n", choices((*looked)[0], answer[0]));
    } else {
        fmt::print(out, "{} queries. For each the router must choose the same key among the pairs.\n", data.queries);
        const size_t listed = std::min<size_t>(data.queries, most_listed);
        for (size_t j = 0; j < listed; ++j)
            fmt::print(out, "  a{:<3} row {:>5}, key {:>5}: position {:>5}, answer {:>5}{}\n", j + 1, query[j],
                       tokens[query[j]], answer[j], label[j],
                       looked ? "; it chose " + choices((*looked)[j], answer[j]) : "");
        if (listed < static_cast<size_t>(data.queries)) fmt::print(out, "  … {} more\n", data.queries - listed);
    }
    if (std::ferror(out)) fail(Exit::internal, "the picture cannot be written: {}", std::strerror(errno));
}

void show_examples(std::FILE* out, const TaskOptions& options, uint64_t seed, int count, const ShowStyle& style,
                   const std::vector<Looked>* looked, Stream stream) {
    const TaskOptions o = resolve(options);
    Workers one(1);
    std::vector<Annotation> annotations;
    const Dataset data = generate(o, count, seed, stream, one, &annotations);
    check(!looked || looked->size() == size_t(count) * data.queries,
          "show_examples: {} entries for {} examples of {} queries", looked ? looked->size() : 0, count, data.queries);
    for (int i = 0; i < count; ++i) {
        fmt::print(out, "{}Example {} of {}, {} {}, length {}, seed {}\n", i ? "\n" : "", i + 1, count, o.task,
                   task_of(o).title(o), o.length, seed);
        std::vector<Looked> mine;
        if (looked) mine.assign(looked->begin() + i * data.queries, looked->begin() + (i + 1) * data.queries);
        show_example(out, data, i, &annotations[i], style, looked ? &mine : nullptr);
    }
}

} // namespace fci
