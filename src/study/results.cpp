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
#include "core/json_read.h"
#include "core/streams.h"
#include "study/plan.h"
#include "train/provenance.h"

namespace fci {
namespace {

namespace fs = std::filesystem;
using Element = simdjson::dom::element;

// Null if there is no value. A number that is not finite is not a result.
void add(Json& j, std::string_view name, std::optional<double> x) {
    if (x && !std::isfinite(*x)) fail(Exit::non_finite, "the result has a NaN or Inf: {}", name);
    j.add(name, x);
}

Json to_json(const Metrics& m) {
    Json j = Json::object();
    add(j, "routing_at_k", m.at_k), add(j, "routing_at_1", m.at_1), add(j, "accuracy", m.accuracy);
    return j;
}

std::optional<double> number_or_null(const Element& json, const char* key) {
    const Element value = json[key];
    return value.is_null() ? std::nullopt : std::optional(double(value));
}

int epoch_or_null(const Element& json, const char* key) { // 0: null
    const Element value = json[key];
    const int64_t epoch = value.is_null() ? 0 : int64_t(value);
    if (epoch < 0 || epoch > largest_size) fail(Exit::bad_data, "its {} is {}", key, epoch);
    return static_cast<int>(epoch);
}

Metrics metrics_in(const Element& json) {
    return {number_or_null(json, "routing_at_k"), number_or_null(json, "routing_at_1"),
            number_or_null(json, "accuracy")};
}

// Reads the recorded options by the option table; an unknown option means another version.
Options options_in(const Element& json) {
    Options o;
    const std::vector<Option> all = table(o);
    for (const auto [key, value] : simdjson::dom::object(json)) {
        const Option* option = find_option(all, std::string(key));
        if (!option) fail(Exit::bad_data, "this version has no option '{}'", key);
        const OptionValue read = option_value(value); // words may come from another version, or be bm25
        if (option->fit(read) != Option::fits)
            fail(Exit::bad_data, "its option '{}' is {}, expected {}", key, simdjson::minify(value), option->wants());
        option->assign(read);
    }
    return o;
}

FinalTest final_in(const Element& json) {
    return {metrics_in(json), number_or_null(json, "routing_neighbours"), number_or_null(json, "routing_strict"),
            number_or_null(json, "routing_ties"), int64_t(json["queries"])};
}

MeasuredOn measured_on(const Element& json) {
    MeasuredOn on;
    on.name = printable(std::string_view(json["name"])), on.hash = std::string(std::string_view(json["data_hash"]));
    on.examples = int64_t(json["examples"]), on.bytes = int64_t(json["bytes"]), on.generated = bool(json["generated"]);
    return on;
}

bool made_on(const Result& r, const std::string& device) {
    return r.provenance.find("\"device\":\"" + device) != std::string::npos;
}
bool computed_nothing(const Result& r) { return made_on(r, emulator_device) || made_on(r, mock_device); }

std::string with_file(const std::string& hash, const std::string& on) { return on.empty() ? hash : hash + "@" + on; }
std::string file_of(const Result& r) { return r.on ? r.on->hash : ""; }

Result result_in(const Element& json, bool& renamed) {
    Result r;
    r.scale = std::string(std::string_view(json["scale"]));
    r.seed = int64_t(json["seed"]);
    const Element metrics = json["metrics"];
    r.metrics = metrics_in(metrics);
    r.queries = int64_t(metrics["queries"]);
    r.transition_epoch = epoch_or_null(metrics, "transition_epoch");
    r.chance = metrics_in(json["chance"]);
    for (const auto [key, value] : simdjson::dom::object(json["analysis"]))
        if (!value.is_null()) r.analysis[std::string(key)] = double(value);
    const simdjson::dom::array curve = json["curve"];
    r.curve.reserve(curve.size());
    for (const Element point : curve) {
        std::array<double, 4> values{};
        const simdjson::dom::array numbers = point;
        if (numbers.size() != values.size())
            fail(Exit::bad_data, "a point of its curve has {} numbers", numbers.size());
        for (size_t i = 0; i < values.size(); ++i) {
            const Element x = numbers.at(i);
            values[i] = x.is_null() ? NAN : double(x);
        }
        r.curve.push_back(values);
    }
    r.seconds = double(json["seconds"]);
    const Element provenance = json["provenance"];
    if (Element final; json["final"].get(final) == simdjson::SUCCESS) r.final = final_in(final);
    if (Element on; json["on"].get(on) == simdjson::SUCCESS) r.on = measured_on(on);
    if (json["stopped_after"].error() == simdjson::SUCCESS) r.stopped_after = epoch_or_null(json, "stopped_after");
    r.provenance = simdjson::minify(provenance);
    r.options = options_in(provenance["options"]);
    if (r.options.train.seed != r.seed)
        fail(Exit::bad_data, "its seed is {}, its options say {}", r.seed, r.options.train.seed);
    r.hash = run_hash(r.options);
    renamed = r.hash != std::string_view(json["hash"]);
    return r;
}

// Is a last line without '\n' whole JSON, as an editor leaves it, or cut short?
bool whole_line(const std::string& text) {
    simdjson::dom::parser parser;
    const auto error = parser.parse(text).error();
    expect_memory(error);
    return error == simdjson::SUCCESS;
}

// While it exists, no other process adds to the file.
class Lock {
public:
    Lock(const std::string& path, int flags, int how) {
        std::error_code unmade; // errors show when the file is opened
        if (how == LOCK_EX) fs::create_directories(fs::path(path).parent_path(), unmade);
        fd_ = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0666);
        int error = fd_ < 0 ? errno : 0;
        while (!error && ::flock(fd_, how) != 0)
            if (errno != EINTR) error = errno; // a signal must not lose a result
        if (error)
            fail(Exit::internal, "{}: cannot be {}: {}; check the folder, or choose another --results", path,
                 how == LOCK_EX ? "written" : "read", unmade ? unmade.message() : std::strerror(error));
    }
    ~Lock() { ::close(fd_); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    int fd_ = -1;
};

} // namespace

Json curve_json(const Result& r) {
    Json points = Json::array();
    for (const auto& point : r.curve) {
        Json numbers = Json::array();
        for (const double x : point) numbers.push(x); // NaN: no value, e.g. the routing of router none
        points.push(numbers);
    }
    return points;
}

Json transition_json(const Result& r) {
    return r.transition_epoch ? Json::number("{}", r.transition_epoch) : Json::raw("null");
}

bool made_on_gpu(const Result& r) { // the earliest lines name no device, indices' lines an empty one
    return made_on(r, "") && !made_on(r, "\"") && !made_on(r, "cpu\"");
}

std::string to_json(const Result& r) {
    Json j = Json::object(), analysis = Json::object();
    j.add("version", r.stopped_after ? -results_version : results_version).add("hash", r.hash);
    j.add("scale", r.scale).add("seed", r.seed);
    if (r.stopped_after) j.add("stopped_after", r.stopped_after);
    if (r.on)
        j.add("on", Json::object()
                        .add("name", r.on->name)
                        .add("data_hash", r.on->hash)
                        .add("examples", r.on->examples)
                        .add("bytes", r.on->bytes)
                        .add("generated", r.on->generated));
    j.add("metrics", to_json(r.metrics).add("queries", r.queries).add("transition_epoch", transition_json(r)));
    j.add("chance", to_json(r.chance));
    if (const auto& f = r.final) {
        Json final = to_json(f->metrics);
        final.add("queries", f->queries);
        add(final, "routing_neighbours", f->neighbours), add(final, "routing_strict", f->strict);
        add(final, "routing_ties", f->ties);
        j.add("final", final);
    }
    for (const auto& [key, value] : r.analysis) add(analysis, key, value);
    j.add("analysis", analysis).add("curve", curve_json(r)).add("seconds", Json::number("{:.3f}", r.seconds));
    return j.add("provenance", Json::raw(r.provenance)).text();
}

std::optional<Result> from_json(const std::string& line, const std::string& where, int64_t* version, bool* renamed) {
    try {
        simdjson::dom::parser parser;
        const Element json = parser.parse(line);
        const int64_t v = json["version"];
        if (version) *version = v;
        if (v != results_version && v != -results_version) return std::nullopt;
        bool ignored = false;
        Result r = result_in(json, renamed ? *renamed : ignored);
        if ((r.stopped_after > 0) != (v < 0)) fail(Exit::bad_data, "a stopped run's version is {}", -results_version);
        return r;
    } catch (const simdjson::simdjson_error& e) {
        expect_memory(e.error());
        fail(Exit::bad_data, "{}: not a result: {}; remove the line, or restore the file", where, e.what());
    } catch (const Error& e) {
        fail(Exit::bad_data, "{}: not a result: {}; remove the line, or restore the file", where, e.what());
    }
}

std::string results_file(const std::string& folder, const std::string& scale) {
    return folder + "/" + scale + ".jsonl";
}

void expect_results(const std::string& folder) {
    if (folder != default_results && !fs::is_directory(folder))
        fail(Exit::usage, "--results {}: there is no such folder; expected one with SCALE.jsonl files", folder);
}

Results::Results(const std::string& folder, const std::string& scale, std::vector<std::string>& notes) {
    const std::string path = results_file(folder, scale);
    if (!fs::exists(path)) return;
    const std::string text = [&] { // never reads half a line that another process is writing
        const Lock lock(path, O_RDONLY, LOCK_SH);
        return read_file(path);
    }();
    std::map<int64_t, int> others; // number of lines by version
    int number = 0, other_names = 0, emulated = 0;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = text.find('\n', begin);
        ++number;
        if (end == begin) { // a blank line
            begin = end + 1;
            continue;
        }
        if (end == std::string::npos && !whole_line(text.substr(begin))) {
            notes.push_back(fmt::format("{}: the last line is incomplete, as after a kill, and is ignored", path));
            break;
        }
        int64_t version = 0;
        bool renamed = false;
        std::string line; // with padding, or the parser makes a copy
        line.reserve(std::min(end, text.size()) - begin + simdjson::SIMDJSON_PADDING);
        line.append(text, begin, end - begin);
        std::optional<Result> r = from_json(line, fmt::format("{}:{}", path, number), &version, &renamed);
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
            fmt::format("{}: {} result{} another hash than this version computes from their options; the computed "
                        "one is used",
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
    const Lock lock(results_file(folder, scale), O_RDWR | O_CREAT, LOCK_EX);
}

void append_result(const std::string& folder, const Result& r) {
    const std::string path = results_file(folder, r.scale);
    const Lock lock(path, O_RDWR | O_CREAT, LOCK_EX);
    const std::string text = read_file(path);
    const size_t last = text.rfind('\n') + 1; // npos + 1 = 0: no complete line
    const bool torn = last < text.size();
    const std::string tail = text.substr(last);
    LogFile log(path);
    if (torn) log.truncate_to(static_cast<int64_t>(last));
    if (torn && whole_line(tail)) log.line(tail); // only its line end was missing
    log.line(to_json(r));
    log.sync();
}

} // namespace fci
