// More tests of the synthetic tasks: options that cannot be satisfied, datasets as files, pictures.
#include <cstdio>
#include <cstring>
#include <fstream>

#include "core/nearest.h"
#include "tasks/npy.h"
#include "tasks/show.h"
#include "tests/catch.h"
#include "tests/scratch.h"

using namespace fci;

namespace {

Dataset make(const TaskOptions& o, int count) {
    Workers one(1);
    return generate(o, count, 7, Stream::train_data, one);
}

TaskOptions small(const std::string& task) {
    TaskOptions o;
    o.task = task;
    if (task == "der")
        o.length = 60, o.min_distance = 20, o.near_window = 12, o.query_row = "marker";
    else
        o.length = 32, o.pairs = 4, o.queries = "many", o.vocab = 1000;
    return resolve(o);
}

template <class F>
void refused(const char* task, F change, const std::string& part) {
    TaskOptions o;
    o.task = task;
    change(o);
    expect_error(error_of([&] { resolve(o); }), Exit::usage, part);
}

std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
void spill(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string array(const std::string& dict, const std::string& body, int version = 1) {
    std::string bytes = "\x93NUMPY";
    const size_t n = dict.size();
    bytes += {static_cast<char>(version), '\0', static_cast<char>(n & 255), static_cast<char>(n >> 8)};
    if (version == 2) bytes += {'\0', '\0'};
    return bytes + dict + body;
}
template <class T>
std::string raw(const std::vector<T>& x) {
    return {reinterpret_cast<const char*>(x.data()), x.size() * sizeof(T)};
}
std::string dict(const std::string& shape, const std::string& type = "<i4") {
    return "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

bool same(const Dataset& a, const Dataset& b) {
    return a.count == b.count && a.length == b.length && a.queries == b.queries && a.vocab == b.vocab &&
           a.tokens == b.tokens && a.query == b.query && a.answer == b.answer && a.label == b.label;
}

// Two sequences of three tokens, made by hand; the contents of file `name` are then replaced by `bytes`.
std::string error_with(const std::string& name, const std::string& bytes) {
    const Scratch dir;
    spill(dir / "tokens.npy", array(dict("(2, 3)"), raw<int32_t>({1, 2, 3, 4, 5, 6})));
    for (const char* column : {"query.npy", "answer.npy", "label.npy"})
        spill(dir / column, array(dict("(2,)"), raw<int32_t>({2, 0})));
    spill(dir / name, bytes);
    return error_of([&] { load_dataset(dir.path); });
}
void bad(const std::string& name, const std::string& bytes, const std::string& part) {
    const std::string error = error_with(name, bytes);
    expect_error(error, Exit::bad_data, part);
    expect_error(error, Exit::bad_data, name);
}

std::string shown(const TaskOptions& o, int count, const ShowStyle& style,
                  const std::vector<Looked>* looked = nullptr) {
    char* text = nullptr;
    size_t size = 0;
    std::FILE* out = ::open_memstream(&text, &size);
    show_examples(out, o, 7, count, style, looked);
    std::fclose(out);
    const std::string s(text, size);
    std::free(text);
    return s;
}

} // namespace

TEST_CASE("nearest: the word that was meant", "[tasks]") {
    CHECK(edit_distance("", "abc") == 3);
    CHECK(edit_distance("kitten", "sitting") == 3);
    CHECK(edit_distance("lenght", "length") == 1); // a swap
    CHECK(nearest("lenght", {"layers", "length", "levels"}) == "length");
    CHECK(nearest("fra", {"far", "near"}) == "far");
    CHECK(nearest("zebra", {"far", "near"}).empty());
    CHECK(nearest("x", {}).empty());
    CHECK(did_you_mean("nearr", {"far", "near"}) == "; did you mean 'near'?");
}

TEST_CASE("resolve: what cannot be satisfied is refused, with the remedy", "[tasks]") {
    using O = TaskOptions;
    refused(
        "derr", [](O&) {}, "--task derr: must be one of der, mqar, hotpotqa; did you mean 'der'?");
    refused(
        "der", [](O& o) { o.variant = "fra"; },
        "--variant fra: must be one of far, near, semantic; did you mean 'far'?");
    refused(
        "der", [](O& o) { o.answer_side = "left"; }, "--answer-side left: must be one of after, either, before");
    refused(
        "der", [](O& o) { o.length = 100; },
        "--length 100 is too short for --min-distance 200: take --length 203 or more, or --min-distance 97 or less");
    refused(
        "der", [](O& o) { o.length = 100, o.answer_side = "before"; },
        "take --length 201 or more, or --min-distance 99");
    refused(
        "der", [](O& o) { o.n_distractors = 24; },
        "--n-distractors 24 do not fit within --near-window 24 of the query in --length 512: at most 23 do");
    refused(
        "der", [](O& o) { o.n_distractors = 65; }, "--n-distractors 65: expected 0 to 64");
    refused(
        "der", [](O& o) { o.variant = "near", o.length = 150; },
        "--n-distractors 4 do not fit at --min-distance 200 or more from the query in --length 150: at most 0 do, or "
        "take "
        "--length 209 or more");
    refused(
        "der", [](O& o) { o.variant = "near", o.near_window = 1; }, "--near-window 1 has no room");
    refused(
        "der", [](O& o) { o.length = -5; }, "--length -5: must be from 0 to 1048576");
    refused(
        "der", [](O& o) { o.min_distance = 0; }, "--min-distance 0: must be from 1");
    refused(
        "der", [](O& o) { o.vocab = 2; }, "--vocab 2 is too small");
    refused(
        "der", [](O& o) { o.variant = "semantic", o.vocab = 250; }, "use 246 or 251");
    refused(
        "der", [](O& o) { o.pairs = 8; }, "--pairs 8 belongs to --task mqar");
    refused(
        "mqar", [](O& o) { o.query_row = "marker", o.queries = "many"; },
        "--query-row marker: with --queries many the row before a query may hold another query");
    refused(
        "mqar", [](O& o) { o.query_row = "marker", o.length = 33; },
        "--length 33 is too short for --pairs 16 and a row before the query that asks (--query-row marker): take "
        "--length 34 or more, or --pairs 15 or less");
    refused(
        "mqar", [](O& o) { o.query_at = "early"; }, "--query-at early belongs to --task der");
    refused(
        "hotpotqa", [](O& o) { o.query_row = "marker"; }, "--query-row marker belongs to --task der and mqar");
    refused(
        "der", [](O& o) { o.query_at = "late"; }, "--query-at late: must be one of uniform, early, fixed");
    for (const char* at : {"early", "fixed"})
        refused(
            "der", [&](O& o) { o.query_at = at, o.answer_side = "before"; },
            fmt::format("--query-at {}: the key comes early, and --answer-side before puts the answer before it", at));
    refused(
        "der", [](O& o) { o.query_at = "early", o.length = 15, o.min_distance = 2, o.near_window = 9; },
        "--query-at early: in --length 15 no row below 1 has room for its distractors and an answer: take --length 16 "
        "or more, or --query-at uniform");
    refused(
        "der", [](O& o) { o.query_at = "fixed", o.length = 220; },
        "--query-at fixed: in --length 220 no row from 22 has room for its distractors and an answer: take --length ");
    refused(
        "der", [](O& o) { o.query_at = "fixed", o.length = 100; }, "--length 100 is too short for --min-distance 200");
    refused(
        "mqar", [](O& o) { o.n_distractors = 8; }, "--n-distractors 8 belongs to --task der");
    refused(
        "mqar", [](O& o) { o.random_non_queries = true; }, "--random-non-queries true belongs to --queries many");
    refused(
        "mqar", [](O& o) { o.length = 32; },
        "--length 32 is too short for --pairs 16 and the query: take --length 33 or more, or --pairs 15 or less");
    refused(
        "mqar", [](O& o) { o.queries = "many", o.length = 63; }, "take --length 64 or more, or --pairs 15 or less");
    refused(
        "mqar", [](O& o) { o.pairs = 128, o.length = 2000; },
        "--pairs 128 need as many distinct keys, and --vocab 256 has 127: take --vocab 258 or more");
    refused(
        "mqar", [](O& o) { o.pairs = 0; }, "--pairs 0: must be from 1 to 1048576");

    // What the messages propose does fit.
    TaskOptions o;
    o.task = "der", o.length = 203;
    CHECK_NOTHROW(resolve(o));
    o.length = 512, o.n_distractors = 23;
    CHECK_NOTHROW(make(o, 20));
    o.variant = "near", o.length = 209, o.n_distractors = 4;
    CHECK_NOTHROW(make(o, 20));
    o.length = 208;
    CHECK_THROWS(resolve(o));
    o = {}, o.task = "der", o.query_at = "early", o.length = 16, o.min_distance = 2, o.near_window = 9;
    CHECK_NOTHROW(make(o, 20));
    o = {}, o.task = "der", o.query_at = "fixed";
    for (o.length = 203; error_of([&] { resolve(o); }) != "";) ++o.length; // the first length that works
    const int shortest = o.length;
    --o.length;
    expect_error(error_of([&] { resolve(o); }), Exit::usage, fmt::format("take --length {} or more", shortest));
}

TEST_CASE("npy: a dataset comes back as it went", "[tasks]") {
    for (const char* task : {"der", "mqar"}) {
        const Scratch dir;
        const TaskOptions o = small(task);
        const Dataset d = make(o, 13);
        save_dataset(dir / "new/folder", d, o, ~uint64_t{0});
        TaskOptions back;
        REQUIRE(same(load_dataset(dir / "new/folder", &back), d));
        TaskOptions went = o;
        const std::vector<Option> there = option_table(back), here = option_table(went);
        for (size_t i = 0; i < here.size(); ++i) CHECK(there[i].text() == here[i].text());
        const std::string bytes = slurp(dir / "new/folder/tokens.npy");
        REQUIRE((bytes.size() - d.tokens.size() * 4) % 64 == 0);
        expect_error(error_of([&] { save_dataset(dir / "new/folder", d, o, 1); }), Exit::usage, "not empty");
        std::filesystem::rename(dir / "new/folder/label.npy", dir / "label.npy");
        expect_error(error_of([&] { save_dataset(dir / "new/folder", d, o, 1); }), Exit::usage,
                     "was interrupted there");
        std::filesystem::rename(dir / "label.npy", dir / "new/folder/label.npy");
        std::filesystem::remove(dir / "new/folder/dataset.json");
        REQUIRE(load_dataset(dir / "new/folder").vocab % 64 == 0);
    }
}

TEST_CASE("npy: failures to write", "[tasks]") {
    const Scratch dir;
    const TaskOptions o = small("der");
    const Dataset d = make(o, 200);
    spill(dir / "file", "x");
    expect_error(error_of([&] { save_dataset(dir / "file/data", d, o, 1); }), Exit::internal, "cannot be made");
    const std::string full = error_in_child([&] {
        limit_file_size(4096);
        save_dataset(dir / "data", d, o, 1);
    });
    expect_error(full, Exit::internal, "tokens.npy: cannot be written: File too large");
    REQUIRE(std::filesystem::is_empty(dir / "data")); // so that the user can try again
}

TEST_CASE("npy: what else is accepted", "[tasks]") {
    const std::string tokens = raw<int64_t>({1, 2, 3, 4, 5, 99});
    CHECK(error_with("tokens.npy", array(dict("(2, 3)", "<i8"), tokens)).empty());
    CHECK(error_with("tokens.npy", array("{\"shape\":(2,3),'fortran_order':False,'descr':'<i8'}", tokens, 2)).empty());
    CHECK(error_with("dataset.json", R"({"format": "fci dataset 1", "vocab": 7})").empty());
}

TEST_CASE("npy: malformed arrays are refused", "[tasks]") {
    const std::string six = raw<int32_t>({1, 2, 3, 4, 5, 6}), good = array(dict("(2, 3)"), six);
    for (size_t n = 0; n < good.size(); ++n) bad("tokens.npy", good.substr(0, n), ""); // truncated at any byte
    bad("tokens.npy", good + "x", "25 bytes follow the header");
    bad("tokens.npy", "PK\3\4" + good, "not an NPY file");
    bad("tokens.npy", array(dict("(2, 3)"), six, 3), "version 3.0");
    bad("tokens.npy", array(dict("(2, 3)", "<f4"), six), "'<f4', not NumPy integers");
    bad("tokens.npy", array(dict("(2, 3)", ">i4"), six), "row 0, column 0: 16777216 is not in [0,1048576)");
    bad("tokens.npy", array("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}", six), "Fortran order");
    bad("tokens.npy", array("{'descr': '<i4', 'descr': '<i4', 'shape': (2, 3)}", six), "'descr' appears twice");
    bad("tokens.npy", array("{'descr': '<i4', 'shape': (2, 3)}", six), "it needs");
    bad("tokens.npy", array("{'descr': '<i4', 'order': 1}", six), "unknown key 'order'");
    bad("tokens.npy", array("{'descr': '<i4", six), "at byte 20: a quote is not closed");
    bad("tokens.npy", array(dict("(2, 3)") + "0", six), "something follows");
    bad("tokens.npy", array(dict("(2, -3)"), six), "expected a dimension");
    bad("tokens.npy", array(dict("(6)"), six), "needs a comma");
    bad("tokens.npy", array(dict("(6,)"), six), "1 dimensions, expected 2");
    bad("tokens.npy", array(dict("(1, 2, 3)"), six), "3 dimensions");
    bad("tokens.npy", array(dict("(0, 3)"), ""), "holds nothing");
    bad("tokens.npy", array(dict("(4294967298, 3)"), six), "a dimension over");
    bad("tokens.npy", array(dict("(2147483647, 2147483647)"), six), "needs 4611686014132420609 numbers");
    bad("tokens.npy", array(dict("(2, 3)", "<i8"), raw<int64_t>({1, 2, 3, 4, int64_t{1} << 40, 6})),
        "row 1, column 1: 1099511627776");
    bad("tokens.npy", array(dict("(2, 3)"), raw<int32_t>({1, 2, -3, 4, 5, 6})), "row 0, column 2: -3 is not in [0,64)");
    bad("query.npy", array(dict("(2,)"), raw<int32_t>({0, 3})), "row 1, column 0: 3 is not in [0,3)");
    bad("answer.npy", array(dict("(2,)"), raw<int32_t>({-1, 0})), "row 0, column 0: -1 is not in [0,3)");
    bad("label.npy", array(dict("(3,)"), raw<int32_t>({1, 1, 1})), "shape (3,1), but tokens.npy has 2 rows");
    bad("label.npy", array(dict("(2, 2)"), raw<int32_t>({1, 1, 1, 1})), "query.npy 1 columns");
    bad("label.npy", array(dict("(2,)"), raw<int32_t>({1, 1 << 21})), "not in [0,1048576)");
    const Scratch empty;
    expect_error(error_of([&] { load_dataset(empty.path); }), Exit::bad_data,
                 "tokens.npy: cannot be read: No such file");
    expect_error(error_of([&] { load_dataset(empty / "none"); }), Exit::bad_data, "no such folder");
}

TEST_CASE("npy: malformed dataset.json is refused", "[tasks]") {
    const auto json = [](const std::string& more) { return R"({"format": "fci dataset 1", )" + more + "}"; };
    bad("dataset.json", "{\"format\": ", "not JSON");
    bad("dataset.json", "[]", "not a JSON object");
    bad("dataset.json", R"({"vocab": 9})", "\"format\" is missing");
    bad("dataset.json", R"({"format": "x", "vocab": 9})", "\"format\" is \"x\"");
    bad("dataset.json", json(R"("seed": 1)"), "\"vocab\" is missing");
    bad("dataset.json", json(R"("vocab": "9")"), "\"vocab\" is not an integer");
    bad("dataset.json", json(R"("vocab": 9.5)"), "\"vocab\" is not an integer");
    bad("dataset.json", json(R"("vocab": 0)"), "\"vocab\" is 0");
    bad("dataset.json", json(R"("vocab": 2000000)"), "over 1048576");
    bad("dataset.json", json(R"("vocab": 9, "vocab": 9)"), "appears twice");
    bad("dataset.json", json(R"("vocab": 9, "seeds": 9)"), "unknown key \"seeds\"; did you mean 'seed'?");
    bad("dataset.json", json(R"("vocab": 9, "seed": -1)"), "\"seed\" is not");
    bad("dataset.json", json(R"("vocab": 9, "count": 3)"), "\"count\" is 3, but the arrays have 2");
    bad("dataset.json", json(R"("vocab": 9, "length": 4)"), "\"length\" is 4, but the arrays have 3");
    bad("dataset.json", json(R"("vocab": 9, "options": {"varient": "far"})"), "did you mean 'variant'?");
    bad("dataset.json", json(R"("vocab": 9, "options": {"pairs": true})"), "\"pairs\" is not an integer");
    bad("dataset.json", json(R"("vocab": 9, "options": {"pairs": 5000000000})"), "too large");
    bad("dataset.json", json(R"("vocab": 9, "options": {"task": "derr"})"), "options: --task derr");
    expect_error(error_with("dataset.json", json(R"("vocab": 6)")), Exit::bad_data,
                 "row 1, column 2: 6 is not in [0,6)");
}

TEST_CASE("show: pictures", "[tasks]") {
    const TaskOptions o = small("der");
    const Dataset d = make(o, 2);
    const std::vector<Looked> looked{{{d.answer[0], 0}, {2.5f, 1}}, {{1, 2}, {}}};
    const std::string text = shown(o, 2, {false, 80}, &looked);
    for (const std::string& part :
         {std::string("Example 2 of 2"), std::string("QRY"), std::string("KEY  VAL"), std::string("d4   .4"),
          fmt::format("must choose {} ", d.answer[0]), fmt::format("#1 {} (2.50, right), #2 0 (1.00)", d.answer[0]),
          std::string(" more …")})
        CHECK(text.find(part) != text.npos);
    CHECK(text.find('\x1b') == text.npos);
    CHECK(shown(o, 1, {true, 80}).find('\x1b') != std::string::npos);
    TaskOptions filler; // mqar: the row before the key asks, and both are marked
    filler.query_row = "marker", filler.length = 40, filler.pairs = 4;
    const std::string asked = shown(filler, 1, {false, 200});
    for (const char* part : {"ask  key", "From row 38 (key "}) CHECK(asked.find(part) != asked.npos);
    CHECK(asked.find("QRY") == asked.npos);
    for (const int width : {40, 80, 200}) { // no line of a picture is wider (the legend may be)
        const std::string s = shown(small("mqar"), 3, {false, width});
        for (size_t begin = 0, end; (end = s.find('\n', begin)) != s.npos; begin = end + 1)
            if (s.compare(begin, 5, "token") == 0 || s.compare(begin, 4, "role") == 0)
                CHECK(std::count_if(s.begin() + begin, s.begin() + end, [](char c) { return (c & 0xC0) != 0x80; }) <=
                      width);
        CHECK(s.find("a4   row") != s.npos);
    }
}
