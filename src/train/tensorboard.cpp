#include "train/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/check.h"

namespace fci {
namespace {

template <class T>
std::string little_endian(T x) {
    std::string bytes;
    for (size_t b = 0; b < sizeof x; ++b) bytes += static_cast<char>(x >> 8 * b);
    return bytes;
}

std::string varint(uint64_t x) {
    std::string bytes;
    for (; x >= 128; x >>= 7) bytes += static_cast<char>(x | 128);
    return bytes + static_cast<char>(x);
}

// A field: its number and the type of its encoding, then its value.
enum Wire { as_varint = 0, as_fixed64 = 1, as_bytes = 2, as_fixed32 = 5 };
std::string key(int field, Wire wire) { return varint(static_cast<uint64_t>(field) << 3 | wire); }
std::string field(int number, const std::string& bytes) { return key(number, as_bytes) + varint(bytes.size()) + bytes; }
std::string field(int number, int64_t x) { return key(number, as_varint) + varint(static_cast<uint64_t>(x)); }
std::string field(int number, double x) { return key(number, as_fixed64) + little_endian(std::bit_cast<uint64_t>(x)); }
std::string field(int number, float x) { return key(number, as_fixed32) + little_endian(std::bit_cast<uint32_t>(x)); }

std::string event(int64_t step, const std::string& what) {
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    return field(1, now.count()) + field(2, step) + what;
}

uint32_t masked(const std::string& bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

} // namespace

uint32_t crc32c(const std::string& bytes) {
    static const std::array<uint32_t, 256> table = [] {
        std::array<uint32_t, 256> t{};
        for (uint32_t i = 0; i < 256; ++i) {
            t[i] = i;
            for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0x82f63b78u : 0);
        }
        return t;
    }();
    uint32_t crc = ~0u;
    for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(c)) & 255];
    return ~crc;
}

EventFile::EventFile(const std::string& folder, int64_t first_step) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
    // Readers take the files of a folder in the order of their names; the step tells two of one second apart.
    path_ = fmt::format("{}/events.out.tfevents.{:010}.{:09}.fci.{}", folder, seconds.count(), first_step, ::getpid());
    file_ = std::fopen(path_.c_str(), "wbx");
    if (!file_) fail(Exit::internal, "{}: cannot be written: {}", path_, std::strerror(errno));
    write(event(0, field(3, std::string("brain.Event:2"))));
    if (first_step > 1) write(event(first_step, field(7, field(1, int64_t{1}))));
    flush();
}

EventFile::~EventFile() { std::fclose(file_); }

void EventFile::add(int64_t step, const Scalars& scalars) {
    std::string summary;
    for (const auto& [tag, value] : scalars) summary += field(1, field(1, tag) + field(2, static_cast<float>(value)));
    write(event(step, field(5, summary)));
}

void EventFile::write(const std::string& event) {
    const std::string length = little_endian(uint64_t{event.size()});
    const std::string record = length + little_endian(masked(length)) + event + little_endian(masked(event));
    std::fwrite(record.data(), 1, record.size(), file_); // flush() looks whether it could be
}

void EventFile::flush() {
    if (std::fflush(file_) != 0 || std::ferror(file_))
        fail(Exit::internal, "{}: cannot be written: {}", path_, std::strerror(errno));
}

} // namespace fci
