#include "pretrained/features.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "core/files.h"
#include "core/half.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/signals.h"

namespace fci {

std::unique_ptr<Backbone> (*open_backbone)(const std::string&, const uint64_t*) = Backbone::open;

std::shared_ptr<const Backbone> shared_backbone(const std::string& folder, bool random) {
    static std::mutex mutex;
    static std::map<std::pair<std::string, bool>, std::shared_ptr<const Backbone>> opened;
    const std::lock_guard lock(mutex);
    std::shared_ptr<const Backbone>& backbone = opened[{folder, random}];
    constexpr uint64_t seed = 1;
    if (!backbone) backbone = open_backbone(folder, random ? &seed : nullptr);
    return backbone;
}

namespace {

namespace fs = std::filesystem;

// Makes features of any sequences.
struct Maker {
    FeatureChoice choice;
    std::vector<int32_t> tokens; // (count, length) of the dataset
    int count, length, width;

    Maker(const Dataset& d, const FeatureChoice& c)
        : choice(c), tokens(d.tokens), count(d.count), length(d.length), width(c.backbone->shape().width) {
        const int vocab = c.backbone->shape().vocab, longest = c.backbone->shape().longest;
        for (size_t i = 0; i < tokens.size(); ++i)
            if (tokens[i] < 0 || tokens[i] >= vocab)
                fail(Exit::bad_data, "token {} at {} of sequence {}: the backbone has tokens 0 to {}", tokens[i],
                     i % length, i / length, vocab - 1);
        if (longest && length > longest)
            fail(Exit::bad_data, "sequences of {} tokens are too long: the backbone has only {} positions", length,
                 longest);
    }

    int64_t numbers() const { return int64_t{length} * width; } // of a sequence
    size_t bytes() const { return numbers() * (choice.half ? sizeof(uint16_t) : sizeof(float)); }

    void make(const int* sequences, int n, float* out, Workers& workers, bool may_stop) const {
        const int most = std::max(1, choice.backbone->at_once(length, choice.device));
        std::vector<int32_t> input;
        for (int first = 0; first < n; first += most) {
            const int part = std::min(most, n - first);
            input.clear();
            for (int i = first; i < first + part; ++i) {
                const auto from = tokens.begin() + int64_t{sequences[i]} * length;
                input.insert(input.end(), from, from + length);
            }
            float* const to = out + first * numbers();
            choice.backbone->hidden(input.data(), part, length, choice.layer, to, workers, choice.device, may_stop);
            for (int64_t i = 0; i < part * numbers(); ++i) {
                const float x = to[i];
                if (choice.half) to[i] = half_to_float(float_to_half(x));
                if (std::isfinite(to[i])) continue;
                fail(Exit::non_finite, "the backbone's layer {} produces {} for sequence {}{}", choice.layer, x,
                     sequences[first + i / numbers()],
                     std::isfinite(x) ? ", which fp16 cannot hold: use --backbone-precision fp32"
                                      : ": its weights may be damaged");
            }
        }
    }
};

// Anew each time, by the thread that reads.
struct Recomputed final : SequenceFeatures {
    Maker maker;
    explicit Recomputed(Maker m) : maker(std::move(m)) { width = maker.width; }
    void read(const int* sequences, int n, float* out) const override {
        thread_local Workers alone(1);
        maker.make(sequences, n, out, alone, false); // a step ends before a run stops
    }
};

// All that the file says before its numbers. They begin on a cache line.
std::string header_of(const Maker& m, const std::string& tokens, const std::string& backbone) {
    std::string json = fmt::format(R"({{"__metadata__":{{"tokens":"{}","backbone":"{}","layer":"{}","build":{}}},)"
                                   R"("features":{{"dtype":"{}","shape":[{},{},{}],"data_offsets":[0,{}]}}}})",
                                   tokens, backbone, m.choice.layer, json_quote(m.choice.build),
                                   m.choice.half ? "F16" : "F32", m.count, m.length, m.width, m.count * m.bytes());
    json.resize((json.size() + 8 + 63) / 64 * 64 - 8, ' ');
    const uint64_t size = json.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof size) + json;
}

struct Stored final : SequenceFeatures {
    OpenFile file;
    const std::string header;
    const bool half;
    const int64_t numbers; // of a sequence
    const size_t bytes;

    Stored(const std::string& path, const std::string& expected, const Maker& m)
        : file(path), header(expected), half(m.choice.half), numbers(m.numbers()), bytes(m.bytes()) {
        width = m.width;
        std::string found(header.size(), '\0');
        const uint64_t size = header.size() + m.count * bytes;
        if (file.read(0, found.size(), found.data()) != found.size() || found != header || file.size() != size)
            fail(Exit::bad_data,
                 "{}: not the features that its name says, or incomplete: remove it, and they are recomputed", path);
    }

    void read(const int* sequences, int n, float* out) const override {
        thread_local std::vector<uint16_t> halves;
        if (half) halves.resize(numbers); // the same for all sequences: no allocation in a step
        for (int i = 0; i < n; ++i, out += numbers) {
            char* const to = half ? reinterpret_cast<char*>(halves.data()) : reinterpret_cast<char*>(out);
            if (file.read(header.size() + sequences[i] * bytes, bytes, to) != bytes)
                fail(Exit::bad_data, "{}: it was truncated while in use: remove it, and resume the run", file.path());
            for (int64_t j = 0; half && j < numbers; ++j) out[j] = half_to_float(halves[j]);
        }
    }
};

std::string size_text(double bytes) {
    return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes / 1e6) : fmt::format("{:.1f} GB", bytes / 1e9);
}

void expect_room(const std::string& folder, uint64_t bytes) {
    struct statvfs disk {};
    if (::statvfs(folder.c_str(), &disk) != 0) return; // what is wrong shows when it is written
    const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
    if (free < bytes)
        fail(Exit::internal,
             "{}: features of {} do not fit, the disk has {} left: free some space, choose another folder with "
             "--backbone-cache DIR, or recompute them each time with --backbone-cache none",
             folder, size_text(static_cast<double>(bytes)), size_text(static_cast<double>(free)));
}

void make_all(const Maker& m, Workers& workers, const TellFeatures& tell,
              const std::function<void(const float*, int)>& take) {
    const int most = std::min(std::max(1, m.choice.backbone->at_once(m.length, m.choice.device)), m.count);
    std::vector<float> made(most * m.numbers());
    std::vector<int> sequences(most);
    for (int first = 0; first < m.count; first += most) {
        if (stop_asked()) fail(Exit::interrupted, "stopped while computing the backbone's features; they start over");
        if (tell) tell("", first, m.count);
        const int n = std::min(most, m.count - first);
        std::iota(sequences.begin(), sequences.end(), first);
        m.make(sequences.data(), n, made.data(), workers, true);
        take(made.data(), n);
    }
}

void write_features(const std::string& path, const std::string& header, const Maker& m, Workers& workers,
                    const TellFeatures& tell) {
    AtomicFile file(path);
    file.write(header);
    std::vector<uint16_t> halves;
    make_all(m, workers, tell, [&](const float* part, int n) {
        const int64_t numbers = n * m.numbers();
        if (!m.choice.half) return file.write({reinterpret_cast<const char*>(part), numbers * sizeof(float)});
        halves.resize(numbers);
        std::transform(part, part + numbers, halves.begin(), float_to_half);
        file.write({reinterpret_cast<const char*>(halves.data()), numbers * sizeof halves[0]});
    });
    file.commit();
}

} // namespace

std::shared_ptr<const SequenceFeatures> features_of(const Dataset& d, const FeatureChoice& choice, Workers& workers,
                                                    const TellFeatures& tell) {
    const Maker maker(d, choice);
    if (choice.cache == "none") return std::make_shared<Recomputed>(maker);
    const std::string_view bytes(reinterpret_cast<const char*>(d.tokens.data()), d.tokens.size() * sizeof d.tokens[0]);
    const std::string tokens = fmt::format("{:016x}", hash64(bytes, static_cast<uint64_t>(d.length))),
                      backbone = fmt::format("{:016x}", choice.backbone->hash()),
                      folder = fmt::format("{}/{}-{}-{}-{}-{:08x}", choice.cache, tokens, backbone, choice.layer,
                                           choice.half ? "fp16" : "fp32", hash64(choice.build) & 0xffffffff),
                      path = folder + "/features.safetensors", header = header_of(maker, tokens, backbone);
    std::error_code ignored;
    for (bool waited = false; !fs::exists(path, ignored); waited = true) {
        if (stop_asked()) fail(Exit::interrupted, "stopped while another process computed the backbone's features");
        const FolderLock lock(folder);
        if (!lock.held()) {
            if (!waited && tell) tell(fmt::format("another process is writing {}: waiting for it", path), 0, 0);
            std::this_thread::sleep_for(std::chrono::milliseconds(300));
            continue;
        }
        if (fs::exists(path, ignored)) break; // finished a moment ago
        const uint64_t size = header.size() + maker.count * maker.bytes();
        expect_room(folder, size);
        if (tell)
            tell(fmt::format("the backbone's features of {} sequences, {}, go into {}", d.count,
                             size_text(static_cast<double>(size)), path),
                 0, 0);
        try {
            write_features(path, header, maker, workers, tell);
        } catch (const Error& e) {
            if (e.exit != Exit::internal) throw;
            fail(e.exit, "{}; for the features, choose another folder with --backbone-cache DIR, or none", e.what());
        }
    }
    return std::make_shared<Stored>(path, header, maker);
}

void make_features(const Dataset& d, const FeatureChoice& choice, Workers& workers, const TellFeatures& tell,
                   const std::function<void(const float*, int)>& take) {
    make_all(Maker(d, choice), workers, tell, take);
}

} // namespace fci
