// The reader of HotpotQA files: see hotpotqa.h.
#include <fcntl.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <system_error>

#include "core/check.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json_read.h"
#include "core/streams.h"
#include "core/words.h"
#include "tasks/hotpot_split.h"
#include "tasks/hotpotqa.h"

namespace fci {
namespace {

namespace dom = simdjson::dom;

class MappedFile {
public:
    explicit MappedFile(const std::string& path) {
        const auto refuse = [&](const std::string& why) {
            if (fd_ >= 0) ::close(fd_);
            fail(Exit::bad_data, "{}: cannot be read: {}; check the name", path, why);
        };
        fd_ = open_to_read(path, false);
        struct stat info {};
        if (::fstat(fd_, &info) < 0) refuse(std::generic_category().message(errno));
        size_ = static_cast<size_t>(info.st_size);
        if (size_ == 0) return; // an empty file cannot be mapped
        data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
        if (data_ == MAP_FAILED) refuse(std::generic_category().message(errno));
        cut_short_ = printable(fmt::format(
            "fci: {}: another program truncated it while it was being read; start again when it is complete\n", path));
        newest_ = this;
        struct sigaction action {};
        action.sa_sigaction = on_fault, action.sa_flags = SA_SIGINFO;
        ::sigaction(SIGBUS, &action, nullptr);
    }
    ~MappedFile() {
        newest_ = nullptr;
        if (size_) ::munmap(data_, size_);
        ::close(fd_);
    }
    MappedFile(const MappedFile&) = delete;

    std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }
    void let_go(size_t before) const { // otherwise pages that were read count as this process's memory
        const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
        if (before >= page) ::madvise(data_, before / page * page, MADV_DONTNEED);
    }

private:
    // Handles access to mapped memory beyond the file's current end: such an access returns no error. If the fault is
    // elsewhere, the signal occurs again and ends the program.
    static void on_fault(int, siginfo_t* info, void*) {
        const MappedFile* file = newest_;
        const char *at = static_cast<char*>(info->si_addr), *begin = file ? static_cast<char*>(file->data_) : nullptr;
        if (begin && at >= begin && at < begin + file->size_) {
            [[maybe_unused]] const ssize_t said = ::write(2, file->cut_short_.data(), file->cut_short_.size());
            ::_exit(static_cast<int>(Exit::bad_data));
        }
        ::signal(SIGBUS, SIG_DFL);
    }

    static inline std::atomic<const MappedFile*> newest_ = nullptr;
    int fd_ = -1;
    void* data_ = nullptr;
    size_t size_ = 0;
    std::string cut_short_;
};

// The reason for refusing an example: a sentence without its location.
struct Malformed {
    std::string what;
};

template <class... Args>
[[noreturn]] void malformed(fmt::format_string<Args...> format, Args&&... args) {
    throw Malformed{fmt::format(format, std::forward<Args>(args)...)};
}

template <class T>
T get(dom::element value, const char* type, const std::string& where) {
    T x;
    if (value.get(x)) malformed("{} is not {}", where, type);
    return x;
}
std::string_view text(dom::element e, const std::string& where) { return get<std::string_view>(e, "a string", where); }
dom::array array(dom::element e, const std::string& where) { return get<dom::array>(e, "an array", where); }
int64_t whole(dom::element e, const std::string& where) { return get<int64_t>(e, "an integer", where); }

void add_paragraph(HotpotExample& x, std::string_view title, dom::element sentences) {
    const size_t n = x.paragraphs.size();
    const auto begin = static_cast<uint32_t>(x.sentences.size());
    for (const dom::element s : array(sentences, fmt::format("context {}: sentences", n)))
        x.sentences.push_back(text(s, fmt::format("context {}: sentence {}", n, x.sentences.size() - begin)));
    x.paragraphs.push_back({title, begin, static_cast<uint32_t>(x.sentences.size())});
}

// Iterates two lists as one list of pairs: {first: [...], second: [...]} of the columnar layout.
template <class Use>
void zip(dom::object columns, const char* owner, const char* first, const char* second, Use use) {
    const auto column = [&](const char* key) {
        dom::element list;
        if (columns[key].get(list)) malformed("{}: there is no \"{}\"", owner, key);
        return array(list, fmt::format("{}: {}", owner, key));
    };
    const dom::array a = column(first), b = column(second);
    if (a.size() != b.size()) malformed("{}: {} of \"{}\" and {} of \"{}\"", owner, a.size(), first, b.size(), second);
    for (auto i = a.begin(), j = b.begin(); i != a.end(); ++i, ++j) use(*i, *j);
}

// Iterates a list of pairs: [[first, second], ...] of the official layout.
template <class Use>
void each_pair(dom::element list, const char* owner, Use use) {
    for (const dom::element pair : array(list, owner)) {
        const dom::array two = array(pair, fmt::format("{}: an entry", owner));
        if (two.size() != 2) malformed("{}: an entry has {} values, not 2", owner, two.size());
        use(*two.begin(), *++two.begin());
    }
}

template <class Use>
void pairs_of(dom::element value, const char* owner, const char* first, const char* second, Use use) {
    dom::object columns;
    value.get(columns) ? each_pair(value, owner, use) : zip(columns, owner, first, second, use);
}

// Refuses an object that is not an example but contains a list of objects: some exports wrap the examples so.
void expect_unwrapped(dom::object object) {
    for (const auto [key, value] : object) {
        dom::array list;
        dom::object first, row;
        if (value.get(list) || list.begin() == list.end() || (*list.begin()).get(first)) continue;
        const bool rows = !first["row"].get(row);
        if (!rows && first["context"].error()) continue;
        const std::string path = fmt::format("[\"{}\"][]{}", key, rows ? ".row" : "");
        malformed("the examples are within \"{}\": write them to a separate file, e.g. with jq -c '.{}'", key, path);
    }
}

HotpotExample read_example(dom::element element) {
    HotpotExample x;
    constexpr std::string_view names[] = {"question", "supporting_facts", "context", "_id",
                                          "id",       "answer",           "type",    "level"};
    constexpr size_t needed = 3; // of the keys above
    std::string_view id, old_id; // "_id", and "id" if there is no "_id"
    std::string_view* const words[] = {&x.question, nullptr, nullptr, &id, &old_id, &x.answer, &x.type, &x.level};
    std::string numbers[2]; // numeric ids as text
    bool seen[std::size(names)] = {};
    const auto object = get<dom::object>(element, "an object", "the example");
    for (const auto [key, value] : object) {
        const std::string_view name = key;
        const auto at = static_cast<size_t>(std::find(std::begin(names), std::end(names), name) - names);
        if (at == std::size(names)) continue;
        if (seen[at]) malformed("\"{}\" appears twice", name);
        seen[at] = true;
        if (name == "question") {
            x.question = text(value, "\"question\"");
        } else if (words[at]) { // a value that is not a string is ignored
            int64_t number;
            if (value.get(*words[at]) && words[at] == (name == "_id" ? &id : &old_id) && !value.get(number))
                *words[at] = numbers[name == "id"] = fmt::format("{}", number);
        } else if (name == "context") {
            pairs_of(value, "context", "title", "sentences", [&](dom::element title, dom::element sentences) {
                add_paragraph(x, text(title, fmt::format("context {}: the title", x.paragraphs.size())), sentences);
            });
            if (x.paragraphs.empty()) malformed("the context is empty");
        } else {
            pairs_of(value, "supporting_facts", "title", "sent_id", [&](dom::element title, dom::element index) {
                const std::string where = fmt::format("supporting_facts {}: ", x.facts.size());
                x.facts.push_back({text(title, where + "the title"), whole(index, where + "the index")});
            });
        }
    }
    for (size_t i = 0; i < needed; ++i)
        if (!seen[i]) expect_unwrapped(object), malformed("there is no \"{}\"", names[i]);
    if (x.sentences.empty()) malformed("no paragraph of the context has a sentence");
    x.id = id.empty() ? old_id : id;
    x.settle();
    return x;
}

size_t first_invalid_utf8(std::string_view s) {
    for (size_t i = 0, n; i < s.size(); i += n)
        if (const uint32_t c = decode_utf8(s, i, n); n == 1 && c >= 0x80) return i;
    return s.size();
}

// The id of an example that is not valid JSON, as far as it can be found.
std::string visible_id(std::string_view raw) {
    for (const std::string_view key : {"\"_id\"", "\"id\""}) {
        size_t at = raw.find(key);
        if (at == std::string_view::npos) continue;
        at = raw.find_first_not_of(" :\t\r\n", at + key.size());
        if (at == std::string_view::npos || raw[at] != '"') continue;
        const std::string_view id = raw.substr(at + 1, raw.find('"', at + 1) - at - 1);
        if (id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 127; }))
            return std::string(id);
    }
    return "";
}

// The piece as simdjson accepts it, where Python's json.load accepts more: NaN, infinities and numbers beyond 64 bits
// become null, halves of a surrogate pair U+FFFD.
std::string in_strict_json(std::string_view raw) {
    std::string strict;
    const auto surrogate = [&](size_t at, char low, char high) { // \uDX.. at `at`, X from low to high?
        if (raw.size() - at < 6 || raw[at] != '\\' || raw[at + 1] != 'u' || (raw[at + 2] | 32) != 'd') return false;
        const char third = static_cast<char>(raw[at + 3] | 32);
        return third >= low && third <= high;
    };
    for (size_t i = 0; i < raw.size();) {
        if (raw[i] == '"') {
            strict += raw[i++];
            while (i < raw.size() && raw[i] != '"') {
                size_t n = raw[i] == '\\' ? 2 : 1;
                if (surrogate(i, '8', '9') || surrogate(i, 'a', 'b'))
                    n = surrogate(i + 6, 'c', 'f') ? 12 : 0;
                else if (surrogate(i, 'c', 'f'))
                    n = 0;
                strict += n ? raw.substr(i, n) : "\\ufffd";
                i = std::min(raw.size(), i + (n ? n : 6));
            }
            if (i < raw.size()) strict += raw[i++];
            continue;
        }
        const size_t end = std::min(raw.size(), raw.find_first_of(" \t\r\n,:[]{}\"", i));
        if (const std::string_view token = raw.substr(i, end - i); end == i) {
            strict += raw[i++];
        } else {
            const std::string_view digits = token.substr(token[0] == '-');
            const bool name = token == "NaN" || digits == "Infinity";
            const bool number =
                !digits.empty() && digits.find_first_not_of("0123456789.eE+-") == std::string_view::npos;
            strict += name || (number && token.size() > 18) || (number && digits.find_first_of("eE") < digits.size())
                          ? "null"
                          : token;
            i = end;
        }
    }
    return strict;
}

struct Parsed {
    HotpotExample example;
    std::string error, id; // error: empty if there is none
    uint64_t offset = 0, hash = 0;
    bool json = true;
};

void parse_piece(dom::parser& parser, std::string_view file, const HotpotSplit::Piece& piece, Parsed& out) {
    const std::string_view raw = file.substr(piece.offset, piece.size);
    out.offset = piece.offset, out.hash = hash64(raw);
    if (raw[0] != '{') {
        out.error = "the example is not an object";
        return;
    }
    // The parser may read beyond the end of its input: near the end of the file it gets a copy.
    const bool room = file.size() - piece.offset - piece.size >= simdjson::SIMDJSON_PADDING;
    dom::element element;
    auto error = parser.parse(raw.data(), raw.size(), !room).get(element);
    if (error && error != simdjson::MEMALLOC && error != simdjson::UTF8_ERROR) {
        const std::string strict = in_strict_json(raw); // the parser keeps its own copy
        if (strict != raw && !parser.parse(strict).get(element)) error = simdjson::SUCCESS;
    }
    if (error) {
        expect_memory(error);
        out.json = false, out.id = visible_id(raw);
        if (error == simdjson::UTF8_ERROR) {
            out.offset += first_invalid_utf8(raw);
            out.error = "not UTF-8";
        } else
            out.error = fmt::format("not JSON: {}", simdjson::error_message(error));
        return;
    }
    try {
        out.example = read_example(element);
    } catch (const Malformed& wrong) {
        out.error = wrong.what, out.id = visible_id(raw);
    }
}

HotpotFile parse(const std::string& name, std::string_view bytes, Workers& workers,
                 const std::function<void(size_t)>& done_before) {
    constexpr size_t batch_pieces = 4096, batch_bytes = size_t{16} << 20;
    HotpotSplit split(name, bytes);
    std::vector<dom::parser> parsers;
    for (int i = 0; i < workers.count(); ++i) parsers.emplace_back(largest_hotpot_example);
    std::vector<HotpotSplit::Piece> pieces;
    std::vector<Parsed> parsed;
    HotpotFile file;
    file.bytes = bytes.size();
    int64_t index = 0;
    for (bool more = true; more;) {
        const size_t begin = split.position();
        pieces.clear();
        for (HotpotSplit::Piece p;
             pieces.size() < batch_pieces && split.position() - begin < batch_bytes && (more = split.next(p));)
            pieces.push_back(p);
        parsed.clear();
        parsed.resize(pieces.size());
        workers.run(static_cast<int>(pieces.size()),
                    [&](int i, int worker) { parse_piece(parsers[worker], bytes, pieces[i], parsed[i]); });
        for (size_t i = 0; i < pieces.size(); ++i, ++index) {
            Parsed& p = parsed[i];
            file.hash = (file.hash ^ p.hash) * 0x9E3779B185EBCA87; // depends on the order
            if (p.error.empty()) {
                file.lost_facts += p.example.lost_facts();
                file.examples.push_back(std::move(p.example));
                continue;
            }
            if (!p.json && pieces[i].last_line)
                fail(Exit::bad_data, "{}: the file ends at byte {} within line {}, which begins at byte {}: {}", name,
                     bytes.size(), index + 1, pieces[i].offset, p.error);
            ++file.malformed;
            if (file.problems.size() < HotpotFile::most_listed)
                file.problems.push_back({index, std::move(p.id), p.offset, std::move(p.error)});
        }
        done_before(split.position());
    }
    if (file.examples.empty() && file.malformed == 0) fail(Exit::bad_data, "{}: there are no examples in it", name);
    if (file.examples.empty())
        fail(Exit::bad_data, "{}: none of its {} examples can be used; the first, at byte {}{}: {}", name,
             file.malformed, file.problems[0].offset, file.problems[0].id.empty() ? "" : ", id " + file.problems[0].id,
             file.problems[0].what);
    return file;
}

} // namespace

HotpotFile load_hotpot(const std::string& path, Workers& workers) {
    const MappedFile file(path);
    return parse(path, file.bytes(), workers, [&](size_t before) { file.let_go(before); });
}

HotpotFile parse_hotpot(const std::string& name, std::string_view bytes, Workers& workers) {
    return parse(name, bytes, workers, [](size_t) {});
}

} // namespace fci
