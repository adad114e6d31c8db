// Checkpoint files: every rule of the format broken in turn, every truncation, every flipped bit, a full disk, a folder
// that cannot be written. Random damage is in fuzz/fuzz_safetensors.cpp.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <set>

#include "core/check.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/safetensors.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;

namespace {

// A file as other programs write it: no checksum, no padding.
std::string foreign(const std::string& header, const std::string& data) {
    const uint64_t n = header.size();
    return std::string(reinterpret_cast<const char*>(&n), sizeof n) + header + data;
}
std::string refusal(const std::string& bytes) {
    return error_of([&] { SafetensorsFile("a.safetensors", bytes); });
}

const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, 7};
const int64_t step = 1234567890123;

std::vector<StoredTensor> two_tensors() {
    return {{"layer.0.weight", "F32", {2, 3}, weights, sizeof weights}, {"step", "I64", {}, &step, sizeof step}};
}

} // namespace

TEST_CASE("safetensors: what is written reads back, the same bytes each time") {
    const Scratch scratch;
    const std::string path = scratch / "a.safetensors";
    const Metadata metadata = {{"run", "a \"quoted\" name\n\t\\ \x01 \xC3\xA9"}, {"", ""}};
    std::vector<StoredTensor> tensors = two_tensors();
    tensors.push_back({"empty", "F32", {0, 5}, nullptr, 0});
    tensors.push_back({"odd \xE2\x82\xAC \" name", "U8", {3}, "abc", 3});

    write_safetensors(path, tensors, metadata);
    REQUIRE(scratch.names() == std::set<std::string>{"a.safetensors"});
    REQUIRE(read_file(path) == safetensors_bytes(tensors, metadata));
    const SafetensorsFile file(path);
    REQUIRE(file.has_checksum());
    REQUIRE(file.metadata() == metadata);
    REQUIRE(file.tensors().size() == tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
        const StoredTensor &in = tensors[i], &out = file.tensors()[i];
        REQUIRE(out.name == in.name);
        REQUIRE(out.dtype == in.dtype);
        REQUIRE(out.shape == in.shape);
        REQUIRE(out.bytes == in.bytes);
        REQUIRE((in.bytes == 0 || std::memcmp(out.data, in.data, in.bytes) == 0));
    }
    REQUIRE(safetensors_bytes(file.tensors(), file.metadata()) == read_file(path));

    REQUIRE(file.find("nothing") == nullptr);
    REQUIRE(file.require("step", "I64", {}).bytes == 8);
    expect_error(error_of([&] { file.require("bias", "F32", {1}); }), Exit::bad_data, "has no tensor 'bias'");
    expect_error(error_of([&] {
                     file.require("layer.0.weight", "F32", {3, 2});
                 }),
                 Exit::bad_data, "tensor 'layer.0.weight' is F32 (2,3), expected F32 (3,2)");

    write_safetensors(path, {}, {}); // overwrites the old file
    REQUIRE(SafetensorsFile(path).tensors().empty());
}

TEST_CASE("safetensors: the header alone says the same as the whole file") {
    const Scratch scratch;
    const std::string path = scratch / "a.safetensors";
    write_safetensors(path, two_tensors());
    const SafetensorsFile whole(path);
    const OpenFile file(path);
    const std::vector<StoredTensor> parts = stored_tensors(file);
    REQUIRE(parts.size() == whole.tensors().size());
    for (size_t i = 0; i < parts.size(); ++i) {
        const StoredTensor &a = parts[i], &b = whole.tensors()[i];
        REQUIRE((a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes && !a.data));
        std::string bytes(a.bytes, '\0');
        REQUIRE(file.read(a.at, a.bytes, bytes.data()) == a.bytes);
        REQUIRE(std::memcmp(bytes.data(), b.data, b.bytes) == 0);
    }
    for (uint64_t size = file.size(); size-- > 0;) { // truncated to every length
        REQUIRE(::truncate(path.c_str(), static_cast<off_t>(size)) == 0);
        expect_error(error_of([&] { stored_tensors(file); }), Exit::bad_data, path);
    }
}

TEST_CASE("safetensors: the layout is the documented one, to the byte") {
    const std::string bytes = safetensors_bytes(two_tensors(), {{"k", "v"}});
    std::string header = R"({"__metadata__":{"checksum":"xxh64:0000000000000000","k":"v"},)"
                         R"("layer.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                         R"("step":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::string expected = foreign(header, {});
    expected.append(reinterpret_cast<const char*>(weights), sizeof weights);
    expected.append(reinterpret_cast<const char*>(&step), sizeof step);
    const std::string sum = fmt::format("{:016x}", hash64(expected));
    REQUIRE(bytes == expected.replace(43, 16, sum));
}

TEST_CASE("safetensors: a foreign file is read") {
    const std::string file = foreign(R"({ "b" : {"shape":[2], "data_offsets":[1,5],"dtype":"BF16"},)"
                                     R"("\u0061":{"dtype":"U8","shape":[1,1,1],"data_offsets":[0,1]},)"
                                     R"("__metadata__":{"format":"pt"}}  )",
                                     "ABCDE");
    const SafetensorsFile read("b.safetensors", file);
    REQUIRE_FALSE(read.has_checksum());
    REQUIRE(read.metadata() == Metadata{{"format", "pt"}});
    REQUIRE(read.tensors().size() == 2);
    REQUIRE(read.tensors()[0].name == "a");
    REQUIRE(std::memcmp(read.find("b")->data, "BCDE", 4) == 0);
    REQUIRE(refusal(foreign("{}", "")) == "");
    REQUIRE(refusal(foreign(R"({"__metadata__":{}})", "")) == "");
}

TEST_CASE("safetensors: every rule broken is refused by name") {
    const auto one = [](const std::string& tensor) { return R"({"w":)" + tensor + "}"; };
    const auto shaped = [&](const std::string& dtype, const std::string& shape, const std::string& offsets) {
        return one(R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}");
    };
    const auto u8 = [](const std::string& name, int begin, int end) {
        return fmt::format(R"("{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", name, end - begin, begin,
                           end);
    };
    REQUIRE(refusal(foreign(shaped(R"("F32")", "[1]", "[0,4]"), "1234")) == ""); // the others change this one
    REQUIRE(refusal(foreign(std::string(1000, ' ').insert(0, "{}"), "")) == "");

    const struct {
        std::string header, data, message;
    } broken[] = {
        {"", "", "does not begin with '{'"},
        {" {}", "", "does not begin with '{'"},
        {"[]", "", "does not begin with '{'"},
        {"{}\n", "", "does not end with '}' and spaces"},
        {"{", "", "does not end with '}' and spaces"},
        {std::string("{}\0", 3), "", "does not end with '}' and spaces"},
        {"{}{}", "", "the header's JSON ends early (at byte 10)"},
        {"{} {}", "", "the header's JSON ends early (at byte 11)"},
        {"{,}", "", "not valid JSON"},
        {R"({"w"})", "", "not valid JSON"},
        {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})", "1234", "not valid JSON"},
        {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],}})", "1234", "not valid JSON"},
        {R"({"w":{"dtype":"F32","shape":[1,],"data_offsets":[0,4]}})", "1234", "list of non-negative integers"},
        {R"({"w":{"dtype":"F32" "shape":[1],"data_offsets":[0,4]}})", "1234", "not valid JSON"},
        {"{\"\xFF\":{}}", "", "not valid JSON"},         // not UTF-8
        {"{\"\xC0\x80\":{}}", "", "not valid JSON"},     // overlong
        {"{\"\xED\xA0\x80\":{}}", "", "not valid JSON"}, // half a surrogate pair
        {R"({"\ud800":{}})", "", "not valid JSON"},      // the same, escaped
        {R"({"\x":{}})", "", "not valid JSON"},          // no such escape
        {"{\"a\nb\":{}}", "", "not valid JSON"},         // a bare control character
        {one("1"), "", "tensor 'w' is not an object (at byte 9)"},
        {one("null"), "", "tensor 'w' is not an object"},
        {one("{}"), "", "tensor 'w' has no data_offsets"},
        {one(R"({"dtype":"U8","data_offsets":[0,1]})"), "1", "tensor 'w' has no shape"},
        {one(R"({"shape":[1],"data_offsets":[0,1]})"), "1", "tensor 'w' has no dtype"},
        {one(R"({"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1})"), "", "key 'more' is unknown"},
        {one(R"({"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]})"), "",
         "'w' has 'dtype' twice (at byte 27)"},
        {one(R"({"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]})"), "", "'w' has 'shape' twice"},
        {one(R"({"dtype":"U8","sh\u0061pe":[0],"shape":[0],"data_offsets":[0,0]})"), "", "'w' has 'shape' twice"},
        {"{" + u8("w", 0, 1) + "," + u8("w", 1, 2) + "}", "12", "the header has 'w' twice"},
        {R"({"__metadata__":{},"__metadata__":{}})", "", "the header has '__metadata__' twice"},
        {R"({"__metadata__":{"a":"1","a":"2"}})", "", "'__metadata__' has 'a' twice"},
        {R"({"__metadata__":{"a":1}})", "", "metadata 'a' is not a string"},
        {R"({"__metadata__":{"a":null}})", "", "metadata 'a' is not a string"},
        {R"({"__metadata__":{"a":{"b":"c"}}})", "", "metadata 'a' is not a string"},
        {R"({"__metadata__":["a"]})", "", "'__metadata__' is not an object"},
        {R"({"__metadata__":{"checksum":"12"}})", "", "metadata 'checksum' is not a checksum"},
        {R"({"__metadata__":{"checksum":"xxh64:12"}})", "", "metadata 'checksum' is not a checksum"},
        {R"({"__metadata__":{"checksum":"xxh64:000000000000000G"}})", "", "the checksum is 'xxh64:000000000000000G'"},
        {R"({ "__metadata__":{"checksum":"xxh64:0000000000000000"}})", "", "it was saved again by another program"},
        {R"({"__metadata__":{"a":"b","checksum":"xxh64:0000000000000000"}})", "", "without 'checksum' in its metadata"},
        {R"({"__metadata__":{"a":"b","checksum":"xxh64:000000000000000G"}})", "", "'checksum' is not a checksum"},
        {R"({"__metadata__":{"sum":"xxh64:0000000000000000"}})", "", "metadata 'sum' is not a checksum"},
        {shaped("4", "[1]", "[0,4]"), "1234", "dtype is not a string"},
        {shaped(R"("F31")", "[1]", "[0,4]"), "1234", "dtype 'F31' is unknown"},
        {shaped(R"("f32")", "[1]", "[0,4]"), "1234", "dtype 'f32' is unknown"},
        {shaped(R"("\u001b[2J")", "[1]", "[0,4]"), "1234", "dtype '\\x1b[2J' is unknown"}, // escaped for the terminal
        {shaped(R"("F32")", "1", "[0,4]"), "1234", "shape is not a list"},
        {shaped(R"("F32")", R"(["1"])", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[-1]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[-0]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[1.0]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[1e0]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[01]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[[1]]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[true]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[9223372036854775808]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[99999999999999999999]", "[0,4]"), "1234", "shape is not a list of non-negative integers"},
        {shaped(R"("F32")", "[4611686018427387905]", "[0,4]"), "1234", "is too large"}, // times 4 is 4 mod 2^64
        {shaped(R"("U8")", "[4294967296,4294967296]", "[0,0]"), "", "is too large"},    // 0 mod 2^64
        {shaped(R"("F32")", "[1]", "[0]"), "1234", "data_offsets [0] are not [begin,end]"},
        {shaped(R"("F32")", "[1]", "[0,2,4]"), "1234", "data_offsets [0,2,4] are not [begin,end]"},
        {shaped(R"("F32")", "[1]", "[4,0]"), "1234", "data_offsets [4,0] are not [begin,end]"},
        {shaped(R"("F32")", "[1]", "[-4,0]"), "1234", "data_offsets is not a list of non-negative integers"},
        {shaped(R"("F32")", "[1]", "{}"), "1234", "data_offsets is not a list"},
        {shaped(R"("F32")", "[1]", "[0,3]"), "123", "F32 [1] takes 4 bytes, data_offsets [0,3] give 3"},
        {shaped(R"("F32")", "[]", "[0,8]"), "12345678", "F32 [] takes 4 bytes, data_offsets [0,8] give 8"},
        {shaped(R"("F32")", "[1]", "[0,4]"), "123", "tensor 'w' ends at 4 of the data, the file at 3"},
        {shaped(R"("F32")", "[1]", "[0,4]"), "12345", "1 bytes follow the last tensor"},
        {shaped(R"("F32")", "[1]", "[1,5]"), "12345", "tensor 'w' begins at 1 of the data, after a hole from 0"},
        {"{" + u8("v", 0, 2) + "," + u8("w", 3, 4) + "}", "1234", "'w' begins at 3 of the data, after a hole from 2"},
        {"{" + u8("v", 0, 2) + "," + u8("w", 1, 4) + "}", "1234", "'w' begins at 1 of the data, inside the one before"},
        {"{" + u8("v", 0, 2) + "," + u8("w", 0, 2) + "}", "12", "'w' begins at 0 of the data, inside the one before"},
        {"{}", "1", "1 bytes follow the last tensor"},
    };
    for (const auto& [header, data, message] : broken) {
        INFO("header: " << header);
        const std::string error = refusal(foreign(header, data));
        expect_error(error, Exit::bad_data, message);
        REQUIRE(error.find("a.safetensors: ") == 3);
        REQUIRE(error.find("at byte ") != std::string::npos);
    }

    std::string huge = foreign("{}", "");
    const uint64_t lengths[] = {3, 100'000'000, 100'000'001, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7};
    for (const uint64_t n : lengths) {
        std::memcpy(huge.data(), &n, sizeof n);
        expect_error(refusal(huge), Exit::bad_data, n > 100'000'000 ? "more than 100000000" : "the file holds 2");
    }
    expect_error(error_of([] { SafetensorsFile("/nowhere/a"); }), Exit::bad_data,
                 "/nowhere/a: cannot be read: No such");
    expect_error(error_of([] { SafetensorsFile("/"); }), Exit::bad_data, "it is not a file but a folder");
}

TEST_CASE("safetensors: a file cut off or continued at any byte is refused") {
    const std::string files[] = {safetensors_bytes(two_tensors(), {{"k", "v"}}),
                                 foreign(R"({"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "abc")};
    for (const std::string& whole : files) {
        REQUIRE(refusal(whole) == "");
        for (size_t n = 0; n < whole.size(); ++n) expect_error(refusal(whole.substr(0, n)), Exit::bad_data, "at byte ");
        expect_error(refusal(whole + '\0'), Exit::bad_data, "1 bytes follow the last tensor");
    }
}

// Every bit matters: the checksum covers the length, the header with its padding and the data; its digits have one
// spelling, and the words around them are checked separately.
TEST_CASE("safetensors: any flipped bit is refused") {
    const std::string whole = safetensors_bytes(two_tensors(), {{"k", "v"}});
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        std::string flipped = whole;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
        INFO("bit " << bit % 8 << " of byte " << bit / 8);
        expect_error(refusal(flipped), Exit::bad_data, "at byte ");
    }
    std::string digit = whole; // the last one, in the data
    digit.back() = static_cast<char>(digit.back() ^ 1);
    expect_error(refusal(digit), Exit::bad_data, "changed or damaged after it was written (at byte 43)");
}

TEST_CASE("safetensors: the writer refuses what it could not read") {
    const auto error = [](std::vector<StoredTensor> t, Metadata m = {}) {
        return error_of([&] { safetensors_bytes(t, m); });
    };
    const StoredTensor w = two_tensors()[0];
    const auto with = [&](auto change) {
        StoredTensor t = w;
        change(t);
        return std::vector{t};
    };
    expect_error(error({w, w}), Exit::internal, "two tensors are named 'layer.0.weight'");
    expect_error(error(with([](auto& t) { t.name = "__metadata__"; })), Exit::internal, "cannot name a tensor");
    expect_error(error(with([](auto& t) { t.name = "\xFF"; })), Exit::internal, "cannot name a tensor");
    expect_error(error(with([](auto& t) { t.dtype = "F31"; })), Exit::internal, "has 24 bytes, F31 (2,3) takes 0");
    expect_error(error(with([](auto& t) { t.shape = {2, 2}; })), Exit::internal, "has 24 bytes, F32 (2,2) takes 16");
    expect_error(error(with([](auto& t) { t.shape = {-2, -3}; })), Exit::internal, "has 24 bytes");
    expect_error(error({}, {{"checksum", "1"}}), Exit::internal, "metadata 'checksum' is reserved");
    expect_error(error({}, {{"a", "xxh64:"}}), Exit::internal, "metadata 'a' is reserved");
    expect_error(error({}, {{"a", "\xFF"}}), Exit::internal, "metadata 'a' is not UTF-8");
}

TEST_CASE("safetensors: a write that fails leaves the old file and nothing else") {
    const Scratch scratch;
    const std::string path = scratch / "a.safetensors";
    write_safetensors(path, two_tensors());
    const std::string old = read_file(path);
    const std::vector<float> large(5000, 1.0f);
    const std::vector<StoredTensor> tensors = {{"w", "F32", {5000}, large.data(), 20000}};

    for (const rlim_t limit : {0, 1, 8, 4096, 19999}) {
        const std::string error = error_in_child([&] {
            limit_file_size(limit);
            write_safetensors(path, tensors);
        });
        expect_error(error, Exit::internal, path + ": cannot be written: File too large");
        REQUIRE(scratch.names() == std::set<std::string>{"a.safetensors"});
        REQUIRE(read_file(path) == old);
    }

    const std::string missing = scratch / "none/a.safetensors";
    expect_error(error_of([&] { write_safetensors(missing, tensors); }), Exit::internal,
                 missing + ": cannot be written: No such file or directory");
    expect_error(error_of([&] { write_safetensors(scratch.path, tensors); }), Exit::internal, "it is a folder");
    expect_error(error_of([] { write_file_atomically("/dev/null", "a"); }), Exit::internal, "or a device");

    ::chmod(scratch.path.c_str(), 0555);
    const std::string error = error_in_child([&] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2); // root may write anywhere
        write_safetensors(path, tensors);
    });
    ::chmod(scratch.path.c_str(), 0755);
    expect_error(error, Exit::internal, path + ": cannot be written: Permission denied");
    REQUIRE(scratch.names() == std::set<std::string>{"a.safetensors"});
    REQUIRE(read_file(path) == old);
}
