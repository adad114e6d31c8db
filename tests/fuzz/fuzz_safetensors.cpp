// Random damage to safetensors files: the reader must refuse with Exit::bad_data or return tensors that lie in the
// file and fit their shapes. Case i depends on i alone, so a failure is repeated by its number. Reading every byte
// through the returned pointers lets ASan judge them. The valid files have no checksum, which would hide the rest.
#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "core/check.h"
#include "core/rng.h"
#include "tests/catch.h"
#include "tests/fuzz/damage.h"
#include "train/safetensors.h"

using namespace fci;

namespace {

std::string with_length(const std::string& header, const std::string& data) {
    const uint64_t n = header.size();
    return std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + data;
}

const std::string headers[] = {
    R"({"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})",
    R"({"__metadata__":{"format":"pt","k":"\u00e9\n"},"x":{"data_offsets":[0,9],"shape":[3,3],"dtype":"I8"}}   )",
    R"({"a":{"dtype":"BOOL","shape":[0],"data_offsets":[0,0]},"c":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})",
};

// What damage inserts: pieces of the format, and numbers at the edges of its types.
const std::string pieces[] = {"{",
                              "}",
                              "[",
                              "]",
                              ",",
                              ":",
                              "\"",
                              "\\",
                              " ",
                              "0",
                              "1",
                              "9",
                              "-",
                              ".",
                              "e",
                              "{}",
                              "[]",
                              "null",
                              "true",
                              "\\u0000",
                              "\\ud83d",
                              "\xFF",
                              "\xC3",
                              std::string(1, '\0'),
                              "\n",
                              "4294967296",
                              "9223372036854775807",
                              "18446744073709551615",
                              "18446744073709551616",
                              "[0,9]",
                              "[9,9]",
                              "[9]",
                              "[1,1,9]",
                              "\"w\"",
                              "\"dtype\":\"U8\"",
                              "\"shape\":[9]",
                              "\"data_offsets\":[0,9]",
                              "\"__metadata__\":{}",
                              "\"checksum\":\"xxh64:00\"",
                              "\"F64\""};

template <class List>
const auto& any_of(Rng& rng, const List& list) {
    return list[rng.below(static_cast<uint32_t>(std::size(list)))];
}

void damage(Rng& rng, std::string& s) {
    const size_t at = rng.below(static_cast<uint32_t>(s.size() + 1));
    const size_t n = std::min<size_t>(rng.below(12), s.size() - at);
    switch (const uint32_t way = rng.below(common_damages + 3)) {
    case 4:
        s.resize(at);
        break;
    case 5:
        s.replace(at, n / 3, any_of(rng, pieces));
        break;
    case 6: // one digit for another: mostly still a file, with other sizes
        if (const size_t digit = s.find_first_of("0123456789", at); digit != std::string::npos)
            s[digit] = static_cast<char>('0' + rng.below(10));
        break;
    default:
        common_damage(rng, s, way, at, n);
    }
}

void expect_consistent(const SafetensorsFile& file, const std::string& bytes) {
    uint64_t header, end = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    std::set<std::string> names;
    for (const StoredTensor& t : file.tensors()) {
        uint64_t size = dtype_bytes(t.dtype);
        for (const int64_t n : t.shape) size *= static_cast<uint64_t>(n);
        if (t.bytes) REQUIRE(std::memcmp(t.data, bytes.data() + 8 + header + end, t.bytes) == 0);
        REQUIRE(size == t.bytes);
        REQUIRE(names.insert(t.name).second);
        end += t.bytes;
    }
    REQUIRE(8 + header + end == bytes.size());
}

} // namespace

TEST_CASE("fuzz: damaged safetensors files are refused or consistent") {
    constexpr int cases = 200'000;
    int accepted = 0, refused = 0;
    for (int i = 0; i < cases; ++i) {
        Rng rng(1, Stream::pattern, static_cast<uint64_t>(i));
        std::string header = any_of(rng, headers), bytes;
        if (rng.below(4)) { // damage behind a length that is right, so that it reaches the rules
            for (uint32_t n = 1 + rng.below(3); n > 0; --n) damage(rng, header);
            bytes = with_length(header, "123456789");
        } else {
            bytes = with_length(header, "123456789");
            for (uint32_t n = 1 + rng.below(3); n > 0; --n) damage(rng, bytes);
        }
        INFO("case " << i);
        try {
            const SafetensorsFile file("fuzzed", bytes);
            expect_consistent(file, bytes);
            ++accepted;
        } catch (const Error& e) {
            if (e.exit != Exit::bad_data) FAIL(e.what());
            ++refused;
        }
    }
    REQUIRE(accepted > cases / 100); // both sides were reached
    REQUIRE(refused > cases / 2);
}
