// Arrays written by other programs: integers of every width, sign and byte order, and Zoology's MQAR.
#include <fstream>

#include "tasks/npy.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;

namespace {

void spill(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// An array of these numbers, (rows, columns), stored as `type`, such as '>u2'.
std::string array(const std::string& type, const std::vector<int64_t>& x, int rows) {
    std::string bytes = npy_header(type.c_str(), {rows, static_cast<int>(x.size()) / rows});
    const int item = type[2] - '0';
    for (const int64_t n : x)
        for (int b = 0; b < item; ++b) bytes += static_cast<char>(n >> 8 * (type[0] == '>' ? item - 1 - b : b));
    return bytes;
}

std::string error_of_array(const Scratch& dir, const std::string& type, const std::vector<int64_t>& x) {
    spill(dir / "a.npy", array(type, x, 1));
    return error_of([&] { load_npy(dir / "a.npy", false); });
}

// Key-value pairs, then queries; labels in Zoology's form.
void zoology(const Scratch& dir, const std::vector<int64_t>& inputs, const std::vector<int64_t>& labels, int rows,
             const std::string& type = "<i8") {
    spill(dir / "inputs.npy", array(type, inputs, rows));
    spill(dir / "labels.npy", array("<i8", labels, rows));
}
constexpr int64_t no = -100;

} // namespace

TEST_CASE("npy: whole numbers of every width, sign and byte order, where the values fit", "[tasks]") {
    const Scratch dir;
    for (const char* type :
         {"|i1", "|u1", "<i2", "<u2", ">i2", ">u2", "<i4", "<u4", ">i4", ">u4", "<i8", "<u8", ">i8", ">u8"}) {
        INFO(type);
        const bool with_sign = type[1] == 'i';
        const int bits = 8 * (type[2] - '0');
        const int64_t high = std::min<int64_t>(
                          (int64_t{1} << (with_sign ? std::min(bits, 62) - 1 : std::min(bits, 62))) - 1, 2147483647),
                      low = !with_sign ? 0 : std::max<int64_t>(-high - 1, -2147483648LL);
        spill(dir / "a.npy", array(type, {low, 0, 1, 77, high, 5}, 2));
        const NpyArray a = load_npy(dir / "a.npy", false);
        CHECK(a.rows == 2);
        CHECK(a.x == std::vector<int32_t>{static_cast<int32_t>(low), 0, 1, 77, static_cast<int32_t>(high), 5});
    }
    expect_error(error_of_array(dir, "<u4", {1, 2, 2147483648}), Exit::bad_data,
                 "a.npy: row 0, column 2: 2147483648 does not fit into 32 bits");
    expect_error(error_of_array(dir, ">i8", {-2147483649}), Exit::bad_data,
                 "row 0, column 0: -2147483649 does not fit");
    expect_error(error_of_array(dir, "<u8", {0, -1}), Exit::bad_data, "row 0, column 1: the number does not fit");
    for (const char* type : {"<f4", "|b1", "=i4", "<i1", "|i4", "<i3", "<c8"}) {
        INFO(type);
        expect_error(error_of_array(dir, type, {1}), Exit::bad_data,
                     std::string("the numbers are '") + type + "', not NumPy integers");
    }
}

TEST_CASE("zoology: where labels are not -100 a row asks for its own token, right is the key among the pairs",
          "[tasks]") {
    const Scratch dir;
    zoology(dir, {1, 70, 2, 80, 2, 0, 1, 0, /**/ 3, 90, 1, 70, 0, 1, 3, 9},
            {no, no, no, no, 80, no, 70, no, /**/ no, no, no, no, no, 70, 90, no}, 2);
    const Dataset d = load_dataset(dir.path);
    CHECK((d.count == 2 && d.length == 8 && d.queries == 2 && d.vocab == 128));
    CHECK(d.query == std::vector<int32_t>{4, 6, 5, 6});
    CHECK(d.answer == std::vector<int32_t>{2, 0, 2, 0});
    CHECK(d.label == std::vector<int32_t>{80, 70, 70, 90});
    const Dataset by_file = load_dataset(dir / "inputs.npy");
    CHECK((by_file.tokens == d.tokens && by_file.query == d.query && by_file.label == d.label));

    std::filesystem::rename(dir / "inputs.npy", dir / "my_inputs_1.npy"); // two files with other names
    std::filesystem::rename(dir / "labels.npy", dir / "my_labels_1.npy");
    CHECK(load_dataset(dir / "my_inputs_1.npy").answer == d.answer);
}

TEST_CASE("zoology: sequences of different numbers of queries stand there once for each", "[tasks]") {
    const Scratch dir;
    zoology(dir, {1, 70, 2, 80, 2, 1, /**/ 3, 90, 1, 70, 0, 3, /**/ 3, 90, 1, 70, 0, 0},
            {no, no, no, no, 80, 70, /**/ no, no, no, no, no, 90, /**/ no, no, no, no, no, no}, 3, ">u2");
    const Dataset d = load_dataset(dir.path);
    CHECK((d.count == 3 && d.queries == 1));
    CHECK(d.tokens == std::vector<int32_t>{1, 70, 2, 80, 2, 1, 1, 70, 2, 80, 2, 1, 3, 90, 1, 70, 0, 3});
    CHECK(d.query == std::vector<int32_t>{4, 5, 5});
    CHECK(d.answer == std::vector<int32_t>{2, 0, 0});
}

TEST_CASE("zoology: arrays that are none are refused, by row and column", "[tasks]") {
    const Scratch dir;
    const auto refused = [&](const std::vector<int64_t>& inputs, const std::vector<int64_t>& labels,
                             const std::string& part) {
        zoology(dir, inputs, labels, 1);
        expect_error(error_of([&] { load_dataset(dir.path); }), Exit::bad_data, part);
    };
    refused({1, 70, 1}, {no, no, 71},
            "labels.npy: row 0, column 2: the answer 71 never follows the token 1 before this column");
    refused({1, 70, 1}, {no, 70, no}, "labels.npy: row 0, column 1: the answer 70 never follows the token 70");
    refused({1, 70, 1}, {no, no, -1}, "labels.npy: row 0, column 2: -1 is not a token");
    refused({1, -7, 1}, {no, no, no}, "inputs.npy: row 0, column 1: -7 is not a token");
    refused({1, 1 << 20, 1}, {no, no, 1 << 20}, "column 1: 1048576 is not a token");
    refused({1, 70, 1}, {no, no, no}, "every label is -100: nothing is asked");
    refused({1, 70, 1}, {no, no}, "labels.npy: shape (1,2), but");
    std::filesystem::remove(dir / "labels.npy");
    expect_error(error_of([&] { load_dataset(dir.path); }), Exit::bad_data, "labels.npy: cannot be read");
}
