// The event file: framing and events, read back; also of a resumed run, written by the program.
#include <bit>
#include <cstring>
#include <map>

#include "tests/catch.h"
#include "tests/faults/program.h"
#include "train/tensorboard.h"

using namespace fci;

namespace {

struct Decoded {
    std::string version;
    int64_t start = 0; // the step of a SessionLog START
    std::map<std::string, std::map<int64_t, float>> scalars;
};

struct Reader { // the part of Protocol Buffers' encoding that event files use
    const std::string& bytes;
    size_t at = 0;

    bool more() const { return at < bytes.size(); }
    uint64_t varint() {
        uint64_t x = 0;
        for (int shift = 0;; shift += 7) {
            const auto b = static_cast<unsigned char>(bytes.at(at++));
            x |= uint64_t{b & 127u} << shift;
            if (b < 128) return x;
        }
    }
    template <class T>
    T fixed() {
        T x;
        std::memcpy(&x, bytes.substr(at, sizeof x).data(), sizeof x);
        at += sizeof x;
        return x;
    }
    std::string text() {
        const size_t n = varint();
        at += n;
        return bytes.substr(at - n, n);
    }
};

uint32_t unmasked(uint32_t masked) { return std::rotl(masked - 0xa282ead8u, 15); }

void read_event(const std::string& event, Decoded& d) {
    Reader r{event};
    int64_t step = 0;
    double time = 0;
    while (r.more()) {
        const uint64_t key = r.varint();
        if (key == (1 << 3 | 1)) {
            time = r.fixed<double>();
        } else if (key == (2 << 3 | 0)) {
            step = static_cast<int64_t>(r.varint());
        } else if (key == (3 << 3 | 2)) {
            d.version = r.text();
        } else if (key == (7 << 3 | 2)) {
            CHECK(r.text() == "\x08\x01");
            d.start = step;
        } else {
            REQUIRE(key == (5 << 3 | 2));
            const std::string summary = r.text();
            for (Reader s{summary}; s.more();) {
                REQUIRE(s.varint() == (1 << 3 | 2));
                const std::string value = s.text();
                Reader v{value};
                REQUIRE(v.varint() == (1 << 3 | 2));
                const std::string tag = v.text();
                REQUIRE(v.varint() == (2 << 3 | 5));
                d.scalars[tag][step] = v.fixed<float>();
                CHECK_FALSE(v.more());
            }
        }
    }
    CHECK(time > 1.7e9);
}

Decoded decode(const std::string& path) {
    const std::string file = read_file(path);
    Decoded d;
    Reader r{file};
    while (r.more()) {
        const std::string length = file.substr(r.at, 8);
        const auto n = r.fixed<uint64_t>();
        CHECK(unmasked(r.fixed<uint32_t>()) == crc32c(length));
        REQUIRE(n <= file.size() - r.at);
        const std::string event = file.substr(r.at, n);
        r.at += n;
        CHECK(unmasked(r.fixed<uint32_t>()) == crc32c(event));
        read_event(event, d);
    }
    return d;
}

std::vector<std::string> event_files(const std::string& folder) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (entry.path().filename().string().starts_with("events.out.tfevents."))
            files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
}

} // namespace

TEST_CASE("tensorboard: crc32c, and scalars as they were added", "[tensorboard]") {
    CHECK(crc32c("123456789") == 0xe3069283u); // RFC 3720, B.4, and similar
    CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
    CHECK(crc32c("") == 0);
    const Scratch scratch;
    {
        EventFile events(scratch.path, 1);
        events.add(1, {{"a", 0.5}, {"b/c", -1e30}});
        events.add(int64_t{1} << 40, {{"a", 1.0 / 3}});
    }
    const Decoded d = decode(event_files(scratch.path).at(0));
    CHECK(d.version == "brain.Event:2");
    CHECK(d.start == 0);
    CHECK(d.scalars.at("a") == std::map<int64_t, float>{{1, 0.5f}, {int64_t{1} << 40, 1.0f / 3}});
    CHECK(d.scalars.at("b/c").at(1) == -1e30f);
    expect_error(error_of([&] { EventFile(scratch / "none", 1); }), Exit::internal, "cannot be written: No such file");
    expect_error(error_in_child([&] {
                     limit_file_size(4096);
                     EventFile events(scratch.path, 7);
                     for (int i = 0; i < 1000; ++i) events.add(i, {{"a", i}});
                     events.flush();
                 }),
                 Exit::internal, "cannot be written: File too large");
}

TEST_CASE("tensorboard: a run's losses, rate and tests; resumed, a second file with where it begins",
          "[cli][tensorboard]") {
    const Scratch scratch;
    const std::string out = scratch / "run";
    expect_ran(run(tiny_run(out) + Words{"--tensorboard", "--stop-after", "1"}), 0);
    expect_ran(run({"train", "--resume", out, "--tensorboard", "--quiet"}), 0);
    const std::vector<std::string> files = event_files(out);
    REQUIRE(files.size() == 2);
    const Decoded first = decode(files[0]), second = decode(files[1]);
    CHECK((first.start == 0 && second.start == 9));
    CHECK(first.scalars.at("train/loss").size() == 8);
    CHECK(second.scalars.at("train/learning_rate").size() == 16);
    CHECK(second.scalars.at("test/routing_at_k").count(24) == 1);
    CHECK(second.scalars.at("final/accuracy").count(24) == 1);
    const std::string log = read_file(out + "/log.jsonl"), key = "\"step\":3,";
    const std::string line = log.substr(log.find(key));
    CHECK(first.scalars.at("train/loss").at(3) ==
          static_cast<float>(std::stod(line.substr(line.find("\"loss\":") + 7))));
    expect_ran(run(tiny_run(scratch / "without")), 0);
    CHECK(event_files(scratch / "without").empty());
    CHECK(same_tensors(out, scratch / "without"));
    expect_refused(run({"train", "--router", "bloom", "--tensorboard"}), 2, "--tensorboard would do nothing");
}
