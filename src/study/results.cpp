#include "study/results.h"

#include <fcntl.h>
#include <simdjson.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/files.h"
#include "study/plan.h"
#include "train/provenance.h"

namespace fci {
namespace {

namespace fs = std::filesystem;
using Json = simdjson::dom::element;

// null: there is none. A number that is not finite is no result.
std::string number(std::optional<double> x, std::string_view name) {
    if (x && !std::isfinite(*x)) fail(Exit::non_finite, "the result has a NaN or Inf: {}", name);
    return x ? fmt::format("{}", *x) : "null";
}

std::string metrics_text(const Metrics& m) {
    return fmt::format("\"routing_at_k\":{},\"routing_at_1\":{},\"accuracy\":{}", number(m.at_k, "routing_at_k"),
                       number(m.at_1, "routing_at_1"), number(m.accuracy, "accuracy"));
}

std::optional<double> number_or_null(const Json& json, const char* key) {
    const Json value = json[key];
    return value.is_null() ? std::nullopt : std::optional(double(value));
}

Metrics metrics_in(const Json& json) {
    return {number_or_null(json, "routing_at_k"), number_or_null(json, "routing_at_1"),
            number_or_null(json, "accuracy")};
}

// The recorded options by the option table; one that this version does not know belongs to another one.
Options options_in(const Json& json) {
    Options o;
    const std::vector<Option> all = table(o);
    for (const auto [key, value] : simdjson::dom::object(json)) {
        const auto found = std::find_if(all.begin(), all.end(), [&](const Option& x) { return x.key == key; });
        if (found == all.end()) fail(Exit::bad_data, "it has an option '{}', which this version does not", key);
        std::visit(
            [&](auto* p) {
                using T = std::remove_pointer_t<decltype(p)>;
                if constexpr (std::is_same_v<T, std::string>)
                    *p = std::string(std::string_view(value));
                else if constexpr (std::is_same_v<T, int> || std::is_same_v<T, int64_t>) {
                    const int64_t x = value;
                    *p = static_cast<T>(x);
                    if (*p != x) fail(Exit::bad_data, "its option '{}' is {}, which is out of range", key, x);
                } else
                    *p = T(value);
            },
            found->value);
    }
    return o;
}

FinalTest final_in(const Json& json) {
    return {metrics_in(json), number_or_null(json, "routing_neighbours"), number_or_null(json, "routing_strict"),
            number_or_null(json, "routing_ties"), int64_t(json["queries"])};
}

MeasuredOn measured_on(const Json& json) {
    MeasuredOn on;
    on.name = std::string(std::string_view(json["name"])), on.hash = std::string(std::string_view(json["data_hash"]));
    on.examples = int64_t(json["examples"]), on.bytes = int64_t(json["bytes"]), on.generated = bool(json["generated"]);
    return on;
}

bool computed_nothing(const Result& r) {
    for (const std::string device : {emulator_device, mock_device})
        if (r.provenance.find("\"device\":\"" + device) != std::string::npos) return true;
    return false;
}

std::string with_file(const std::string& hash, const std::string& on) { return on.empty() ? hash : hash + "@" + on; }
std::string file_of(const Result& r) { return r.on ? r.on->hash : ""; }

Result result_in(const Json& json, bool& renamed) {
    Result r;
    r.scale = std::string(std::string_view(json["scale"]));
    r.seed = int64_t(json["seed"]);
    const Json metrics = json["metrics"];
    r.metrics = metrics_in(metrics);
    r.queries = int64_t(metrics["queries"]);
    r.transition_epoch = static_cast<int>(number_or_null(metrics, "transition_epoch").value_or(0));
    r.chance = metrics_in(json["chance"]);
    for (const auto [key, value] : simdjson::dom::object(json["analysis"]))
        if (!value.is_null()) r.analysis[std::string(key)] = double(value);
    for (const Json point : simdjson::dom::array(json["curve"])) {
        std::array<double, 4> values{};
        const simdjson::dom::array numbers = point;
        if (numbers.size() != values.size())
            fail(Exit::bad_data, "a point of its curve has {} numbers", numbers.size());
        for (size_t i = 0; i < values.size(); ++i) {
            const Json x = numbers.at(i);
            values[i] = x.is_null() ? NAN : double(x);
        }
        r.curve.push_back(values);
    }
    r.seconds = double(json["seconds"]);
    const Json provenance = json["provenance"];
    if (Json final; json["final"].get(final) == simdjson::SUCCESS) r.final = final_in(final);
    if (Json on; json["on"].get(on) == simdjson::SUCCESS) r.on = measured_on(on);
    if (Json x; json["stopped_after"].get(x) == simdjson::SUCCESS) r.stopped_after = static_cast<int>(int64_t(x));
    r.provenance = simdjson::minify(provenance);
    r.options = options_in(provenance["options"]);
    if (r.options.train.seed != r.seed)
        fail(Exit::bad_data, "its seed is {}, its options say {}", r.seed, r.options.train.seed);
    r.hash = run_hash(r.options);
    renamed = r.hash != std::string_view(json["hash"]);
    return r;
}

// A last line without its '\n': JSON all the same, as an editor leaves it, or cut short?
bool whole_line(const std::string& text) {
    simdjson::dom::parser parser;
    return parser.parse(text).error() == simdjson::SUCCESS;
}

// While it lives, no other process adds to the file.
class Lock {
public:
    Lock(const std::string& path, int flags, int how) {
        fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
        int error = fd_ < 0 ? errno : 0;
        while (!error && ::flock(fd_, how) != 0)
            if (errno != EINTR) error = errno; // a signal asks for a stop, not for the loss of a result
        if (error)
            fail(Exit::internal, "{}: cannot be {}: {}; check the folder, or choose another --results", path,
                 how == LOCK_EX ? "written" : "read", std::strerror(error));
    }
    ~Lock() { ::close(fd_); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    int fd_ = -1;
};

} // namespace

std::string curve_json(const Result& r) {
    std::string points;
    for (const auto& point : r.curve) {
        std::string numbers;
        for (const double x : point) { // NaN: it has none, e.g. router none no routing
            if (!numbers.empty()) numbers += ",";
            numbers += std::isnan(x) ? "null" : fmt::format("{}", x);
        }
        points += fmt::format("{}[{}]", points.empty() ? "" : ",", numbers);
    }
    return "[" + points + "]";
}

std::string to_json(const Result& r) {
    std::string analysis, on, final, stopped;
    if (r.stopped_after) stopped = fmt::format("\"stopped_after\":{},", r.stopped_after);
    if (r.final) {
        final = fmt::format("\"final\":{{{},\"queries\":{}", metrics_text(r.final->metrics), r.final->queries);
        for (const auto& [name, x] : {std::pair("routing_neighbours", r.final->neighbours),
                                      {"routing_strict", r.final->strict},
                                      {"routing_ties", r.final->ties}})
            final += fmt::format(",\"{}\":{}", name, number(x, name));
        final += "},";
    }
    if (r.on)
        on = fmt::format("\"on\":{{\"name\":{},\"data_hash\":\"{}\",\"examples\":{},\"bytes\":{},\"generated\":{}}},",
                         json_quote(r.on->name), r.on->hash, r.on->examples, r.on->bytes, r.on->generated);
    for (const auto& [key, value] : r.analysis)
        analysis += fmt::format("{}{}:{}", analysis.empty() ? "" : ",", json_quote(key), number(value, key));
    return fmt::format(
        "{{\"version\":{},\"hash\":\"{}\",\"scale\":{},\"seed\":{},{}{}\"metrics\":{{{},\"queries\":{},"
        "\"transition_epoch\":{}}},\"chance\":{{{}}},{}\"analysis\":{{{}}},\"curve\":{},\"seconds\":{:.3f},"
        "\"provenance\":{}}}",
        r.stopped_after ? -results_version : results_version, r.hash, json_quote(r.scale), r.seed, stopped, on,
        metrics_text(r.metrics), r.queries, r.transition_epoch ? std::to_string(r.transition_epoch) : "null",
        metrics_text(r.chance), final, analysis, curve_json(r), r.seconds, r.provenance);
}

std::optional<Result> from_json(const std::string& line, const std::string& where, int64_t* version, bool* renamed) {
    try {
        simdjson::dom::parser parser;
        const Json json = parser.parse(line);
        const int64_t v = json["version"];
        if (version) *version = v;
        if (v != results_version && v != -results_version) return std::nullopt;
        bool ignored = false;
        Result r = result_in(json, renamed ? *renamed : ignored);
        if ((r.stopped_after > 0) != (v < 0)) fail(Exit::bad_data, "a stopped run's version is {}", -results_version);
        return r;
    } catch (const simdjson::simdjson_error& e) {
        fail(Exit::bad_data, "{}: not a result: {}; remove the line, or take the file from its origin again", where,
             e.what());
    } catch (const Error& e) {
        fail(Exit::bad_data, "{}: not a result: {}; remove the line, or take the file from its origin again", where,
             e.what());
    }
}

std::string results_file(const std::string& folder, const std::string& scale) {
    return folder + "/" + scale + ".jsonl";
}

Results::Results(const std::string& folder, const std::string& scale, std::vector<std::string>& notes) {
    const std::string path = results_file(folder, scale);
    if (!fs::exists(path)) return;
    const std::string text = [&] { // not amid a line that another process writes
        const Lock lock(path, O_RDONLY, LOCK_SH);
        return read_file(path);
    }();
    std::map<int64_t, int> others; // version, lines
    int number = 0, other_names = 0, emulated = 0;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = text.find('\n', begin);
        ++number;
        if (end == begin) { // a blank line
            begin = end + 1;
            continue;
        }
        if (end == std::string::npos && !whole_line(text.substr(begin))) {
            notes.push_back(fmt::format("{}: the last line is cut short, as a kill leaves it, and is left out", path));
            break;
        }
        int64_t version = 0;
        bool renamed = false;
        std::optional<Result> r =
            from_json(text.substr(begin, end - begin), fmt::format("{}:{}", path, number), &version, &renamed);
        other_names += renamed;
        if (r && r->scale != scale)
            fail(Exit::bad_data, "{}:{}: a result of scale {} in a file of scale {}; move it", path, number, r->scale,
                 scale);
        if (r && computed_nothing(*r)) {
            ++emulated;
        } else if (r && r->stopped_after) {
            Result& known = stopped_[r->hash];
            if (r->stopped_after >= known.stopped_after) known = std::move(*r);
        } else if (r)
            by_hash_[with_file(r->hash, file_of(*r))] = std::move(*r);
        else
            ++others[version];
        begin = std::min(end, text.size()) + 1;
    }
    for (const auto& [hash, r] : by_hash_) by_family_[with_file(family_hash(r.options), file_of(r))][r.seed] = &r;
    std::erase_if(stopped_, [&](const auto& x) { return by_hash_.contains(x.first); });
    if (other_names)
        notes.push_back(
            fmt::format("{}: {} result{} another hash than this version gives to their options, by which they "
                        "are taken",
                        path, other_names, other_names == 1 ? " has" : "s have"));
    if (emulated)
        notes.push_back(fmt::format("{} result{} in {} {} left out: the device was an emulator or a mock of a GPU",
                                    emulated, emulated == 1 ? "" : "s", path, emulated == 1 ? "is" : "are"));
    for (const auto& [version, lines] : others)
        notes.push_back(fmt::format("{} result{} of version {} in {} {} left out; this program makes version {}", lines,
                                    lines == 1 ? "" : "s", version, path, lines == 1 ? "is" : "are", results_version));
}

std::vector<const Result*> Results::of_seeds(const Options& o, int64_t seeds, const std::string& on) const {
    std::vector<const Result*> found;
    const auto family = by_family_.find(with_file(family_hash(o), on));
    if (family == by_family_.end()) return found;
    for (const auto& [seed, result] : family->second)
        if (seed >= 1 && (seeds == 0 || seed <= seeds)) found.push_back(result);
    return found;
}

const Result* Results::find_stopped(const std::string& hash) const {
    const auto found = stopped_.find(hash);
    return found == stopped_.end() ? nullptr : &found->second;
}

std::vector<const Result*> Results::stopped(const Options& o, int64_t seeds) const {
    std::map<int64_t, const Result*> by_seed;
    const std::string family = family_hash(o);
    for (const auto& [hash, r] : stopped_)
        if (r.seed >= 1 && (seeds == 0 || r.seed <= seeds) && family_hash(r.options) == family) by_seed[r.seed] = &r;
    std::vector<const Result*> found;
    for (const auto& [seed, r] : by_seed) found.push_back(r);
    return found;
}

std::vector<MeasuredOn> Results::files(const Options& o) const {
    std::vector<MeasuredOn> files;
    const std::string first = family_hash(o) + "@";
    for (auto f = by_family_.lower_bound(first); f != by_family_.end() && f->first.starts_with(first); ++f)
        files.push_back(*f->second.begin()->second->on);
    return files;
}

void Results::take_indices(Results&& other) {
    for (auto& [key, r] : other.by_hash_) {
        if (!r.on || learns(r.options)) continue;
        const auto [at, added] = by_hash_.try_emplace(key, std::move(r));
        const Result& now = at->second;
        by_family_[with_file(family_hash(now.options), file_of(now))][now.seed] = &now;
    }
}

const Result* Results::find(const std::string& hash, const std::string& on) const {
    const auto found = by_hash_.find(with_file(hash, on));
    return found == by_hash_.end() ? nullptr : &found->second;
}

void require_writable(const std::string& folder, const std::string& scale) {
    std::error_code error;
    fs::create_directories(folder, error); // what is wrong shows when the file is opened
    const Lock lock(results_file(folder, scale), O_RDWR | O_CREAT, LOCK_EX);
}

void append_result(const std::string& folder, const Result& r) {
    std::error_code error;
    fs::create_directories(folder, error); // what is wrong shows when the file is opened
    const std::string path = results_file(folder, r.scale);
    const Lock lock(path, O_RDWR | O_CREAT, LOCK_EX);
    const std::string text = read_file(path);
    const size_t last = text.rfind('\n') + 1; // npos + 1 = 0: no line that ends
    const bool torn = last < text.size();
    const std::string tail = text.substr(last);
    LogFile log(path);
    if (torn) log.truncate_to(static_cast<int64_t>(last));
    if (torn && whole_line(tail)) log.line(tail); // it lacked its end only
    log.line(to_json(r));
    log.sync();
}

} // namespace fci
