#include "tasks/hotpot_split.h"

#include <algorithm>
#include <bitset>
#include <cstring>

#include "core/check.h"
#include "tasks/hotpotqa.h"

namespace fci {
namespace {

constexpr int deepest = 1024; // simdjson's own limit

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

} // namespace

HotpotSplit::HotpotSplit(const std::string& name, std::string_view bytes) : name_(name), bytes_(bytes) {
    constexpr struct {
        std::string_view begin, name, unpack;
    } packed[] = {{"\x1F\x8B", "gzip", "gunzip -k"},
                  {"BZh", "bzip2", "bunzip2 -k"},
                  {"\xFD\x37zXZ", "xz", "unxz -k"},
                  {"\x28\xB5\x2F\xFD", "zstd", "unzstd"},
                  {"PK\x03\x04", "zip", "unzip"}};
    for (const auto& [begin, name, unpack] : packed)
        if (bytes_.starts_with(begin))
            fail(Exit::bad_data, "{}: is compressed by {}: decompress it first ({} FILE)", name_, name, unpack);
    if (bytes_.starts_with("PAR1"))
        fail(Exit::bad_data,
             "{}: is a Parquet file: convert it to JSON Lines first (pandas: read_parquet(FILE).to_json("
             "NEW, orient=\"records\", lines=True))",
             name_);
    skip_space();
    if (at_ == bytes_.size()) fail(Exit::bad_data, "{}: the file is empty", name_);
    if (bytes_[at_] == '[') {
        ++at_;
    } else if (bytes_[at_] == '{') {
        layout_ = looks_like_lines() ? Layout::lines : Layout::stream;
    } else
        unexpected("not a HotpotQA file: '[' of a JSON array or '{' of JSON Lines");
}

void HotpotSplit::cut_short() const {
    const std::string where = begin_ == bytes_.size()
                                  ? fmt::format("after {} examples", index_)
                                  : fmt::format("within example {}, which begins at byte {}", index_, begin_);
    fail(Exit::bad_data, "{}: the file ends at byte {}, {}: it is cut short; get it again", name_, bytes_.size(),
         where);
}

void HotpotSplit::too_large() const {
    fail(
        Exit::bad_data,
        "{}: example {}, at byte {}, is larger than {} MB: this is not a HotpotQA file, or all examples are within one "
        "object (then write them to a separate file, e.g. with jq '.data')",
        name_, index_, begin_, largest_hotpot_example >> 20);
}

void HotpotSplit::unexpected(const char* wanted) const {
    const auto c = static_cast<unsigned char>(bytes_[at_]);
    fail(Exit::bad_data, "{}: at byte {}: {} is expected here, not {}", name_, at_, wanted,
         c > ' ' && c < 127 ? fmt::format("'{}'", static_cast<char>(c)) : fmt::format("byte 0x{:02x}", c));
}

void HotpotSplit::skip_space() {
    for (;; at_ += 3) {
        while (at_ < bytes_.size() && is_space(bytes_[at_])) ++at_;
        if (!bytes_.substr(at_).starts_with("\xEF\xBB\xBF")) return; // byte order mark: one per concatenated file
    }
}

// at_: the '{' of the first object. In JSON Lines the object ends on its line, or (a damaged line) the next line begins
// with '{'; an indented object continues on the next line.
bool HotpotSplit::looks_like_lines() {
    const size_t begin = at_, end = bytes_.find('\n', begin);
    if (end == std::string_view::npos || bytes_[bytes_.find_last_not_of(" \r\t\n", end)] == '}') return true;
    at_ = end, skip_space();
    const bool another = at_ == bytes_.size() || bytes_[at_] == '{';
    at_ = begin;
    return another;
}

void HotpotSplit::skip_string() {
    const size_t limit = std::min(bytes_.size(), begin_ + largest_hotpot_example + 1), first = ++at_;
    for (;;) {
        const void* found = std::memchr(bytes_.data() + at_, '"', limit - at_);
        if (!found) limit == bytes_.size() ? cut_short() : too_large();
        const auto quote = static_cast<size_t>(static_cast<const char*>(found) - bytes_.data());
        size_t slashes = 0; // an odd number of them escapes the quote
        while (quote - slashes > first && bytes_[quote - slashes - 1] == '\\') ++slashes;
        at_ = quote + 1;
        if (slashes % 2 == 0) return;
    }
}

// at_ moves from the first byte of a value to after its last. Brackets must match, or the ends of elements are unknown.
void HotpotSplit::skip_value() {
    const char first = bytes_[at_];
    if (first == '"') return skip_string();
    if (first != '{' && first != '[') { // a number or a word: not an example; the parser reports it
        while (at_ < bytes_.size() && !is_space(bytes_[at_]) && bytes_[at_] != ',' && bytes_[at_] != ']')
            if (++at_ - begin_ > largest_hotpot_example) too_large();
        return;
    }
    std::bitset<deepest> object; // which of the open brackets are '{'
    int depth = 0;
    do {
        if (at_ == bytes_.size()) cut_short();
        if (at_ - begin_ > largest_hotpot_example) too_large();
        const char c = bytes_[at_];
        if (c == '"') {
            skip_string();
            continue;
        }
        if (c == '{' || c == '[') {
            if (depth == deepest)
                fail(Exit::bad_data, "{}: at byte {}: brackets are nested more than {} deep", name_, at_, deepest);
            object[depth++] = c == '{';
        } else if ((c == '}' || c == ']') && object[--depth] != (c == '}'))
            unexpected(object[depth] ? "'}'" : "']'");
        ++at_;
    } while (depth > 0);
    if (at_ - begin_ > largest_hotpot_example) too_large();
}

bool HotpotSplit::next_line(Piece& piece) {
    skip_space();
    if (at_ == bytes_.size()) return false;
    begin_ = at_;
    const size_t limit = std::min(bytes_.size(), begin_ + largest_hotpot_example + 1);
    const void* found = std::memchr(bytes_.data() + at_, '\n', limit - at_);
    if (!found && limit < bytes_.size()) too_large();
    at_ = found ? static_cast<size_t>(static_cast<const char*>(found) - bytes_.data()) : bytes_.size();
    piece = {begin_, at_ - begin_, !found};
    ++index_;
    return true;
}

bool HotpotSplit::next(Piece& piece) {
    if (done_) return false;
    if (layout_ == Layout::lines) return next_line(piece);
    const auto go_on = [&] {
        skip_space();
        begin_ = at_;
        if (at_ == bytes_.size()) cut_short();
    };
    if (layout_ == Layout::stream) {
        skip_space(), begin_ = at_;
        if (at_ == bytes_.size()) return false;
        if (bytes_[at_] != '{') unexpected("'{' of an example");
        skip_value();
        piece = {begin_, at_ - begin_, false};
        ++index_;
        return true;
    }
    go_on();
    if (bytes_[at_] == ']') {
        ++at_, skip_space();
        if (at_ != bytes_.size()) unexpected("the end of the file after the array");
        done_ = true;
        return false;
    }
    if (index_ > 0) {
        if (bytes_[at_] != ',') unexpected("',' or ']' after an example");
        ++at_, go_on();
    }
    if (std::strchr(",]}:", bytes_[at_])) unexpected("an example");
    skip_value();
    piece = {begin_, at_ - begin_, false};
    ++index_;
    return true;
}

} // namespace fci
