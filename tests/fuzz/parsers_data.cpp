// The parsers of data: safetensors, HotpotQA, npy, a dataset's folder, words.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include "core/files.h"
#include "core/safetensors.h"
#include "core/words.h"
#include "study/hotpot_eval.h"
#include "tasks/hotpot_text.h"
#include "tasks/npy.h"
#include "tasks/task.h"
#include "tests/fuzz/parsers.h"

namespace fci {
namespace {

using Holds = std::function<void()>;

// --- safetensors. Reading every byte through the returned pointers lets ASan judge them.

void expect_tiling(const SafetensorsFile& file, const std::string& bytes) {
    uint64_t header, end = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    std::set<std::string> names;
    for (const StoredTensor& t : file.tensors()) {
        uint64_t size = dtype_bytes(t.dtype);
        for (const int64_t n : t.shape) size *= static_cast<uint64_t>(n);
        hold(!t.bytes || std::memcmp(t.data, bytes.data() + 8 + header + end, t.bytes) == 0, "other bytes");
        hold(size == t.bytes, "a tensor's bytes are not its shape's");
        hold(names.insert(t.name).second, "two tensors of one name");
        hold(file.find(t.name) == &t, "a tensor is not found by its name");
        end += t.bytes;
    }
    hold(8 + header + end == bytes.size(), "the tensors do not fill the file");
}

Holds read_safetensors(const std::string& bytes) {
    const auto file = std::make_shared<SafetensorsFile>("fuzzed", bytes);
    return [=] {
        expect_tiling(*file, bytes);
        const SafetensorsFile again("again", safetensors_bytes(file->tensors(), file->metadata()));
        hold(again.has_checksum() && again.metadata() == file->metadata(), "other metadata when written");
        hold(std::equal(again.tensors().begin(), again.tensors().end(), file->tensors().begin(), file->tensors().end(),
                        [](const StoredTensor& a, const StoredTensor& b) {
                            return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes &&
                                   (a.bytes == 0 || std::memcmp(a.data, b.data, a.bytes) == 0);
                        }),
             "other tensors when written");
    };
}

// A header and data, without the length before them: as damage to both reaches the rules behind it.
Holds read_header(const std::string& text) {
    const uint64_t n = text.rfind('}') + 1;
    return read_safetensors(std::string(reinterpret_cast<const char*>(&n), sizeof n) + text);
}

// Without a checksum, which would hide the rest.
std::vector<std::string> headers() {
    return {
        R"({"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}123456789)",
        R"({"__metadata__":{"format":"pt","k":"\u00e9\n"},"x":{"data_offsets":[0,9],"shape":[3,3],"dtype":"I8"}}123456789)",
        R"({"a":{"dtype":"BOOL","shape":[0],"data_offsets":[0,0]},"c":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}123456789)",
    };
}

std::vector<std::string> safetensors_seeds() {
    const float x[] = {1, 2};
    std::vector<std::string> seeds{safetensors_bytes({{"w", "F32", {1, 2}, x, 8}}, {{"step", "24"}})};
    for (std::string s : headers()) {
        const bool padded = seeds.size() == 2;
        s.insert(s.rfind('}') + 1, padded ? "   " : "");
        const uint64_t n = s.size() - 9;
        seeds.push_back(std::string(reinterpret_cast<const char*>(&n), sizeof n) + s);
    }
    return seeds;
}

std::vector<std::string> safetensors_pieces() {
    return json_pieces({"[0,9]", "[9,9]", "[9]", "[1,1,9]", "\"w\"", "\"dtype\":\"U8\"", "\"shape\":[9]",
                        "\"data_offsets\":[0,9]", "\"__metadata__\":{}", "\"checksum\":\"xxh64:00\"", "\"F64\""});
}

// --- HotpotQA, in each layout.

void expect_consistent(const HotpotExample& x, const TaskOptions& text) {
    uint32_t end = 0;
    for (const auto& p : x.paragraphs) {
        hold(p.begin == end && p.end >= p.begin, "paragraphs do not follow one another");
        end = p.end;
    }
    hold(end == x.sentences.size(), "sentences outside of paragraphs");
    hold(std::is_sorted(x.supporting.begin(), x.supporting.end()), "supporting sentences are not in order");
    hold(x.supporting.empty() || x.supporting.back() < end, "a supporting sentence that is not there");
    hold(x.lost_facts() >= 0, "fewer facts than were found");
    hold(hotpot_sequence(x, text).tokens.size() == static_cast<size_t>(text.length), "a sequence of another length");
    WordIndex scratch(Tokeniser::letters);
    HotpotOptions o;
    o.unit = "sentences", o.tokeniser = "letters";
    const HotpotFound f = find_hotpot(x, 0, o, scratch);
    if (f.begins.empty()) return;
    const HotpotMeasure m = measure_hotpot(x, f);
    for (size_t i = 0; i < m.value.size(); ++i)
        hold(m.value[i] >= 0 && m.value[i] <= 1 && m.chance[i] >= 0 && m.chance[i] <= 1 + 1e-12, "not a share");
}

Holds read_hotpot(const std::string& bytes) {
    static Workers workers(1);
    static const TaskOptions text = [] {
        TaskOptions o;
        o.task = "hotpotqa", o.length = 64;
        return resolve(o);
    }();
    const auto file = std::make_shared<HotpotFile>(parse_hotpot("fuzzed", bytes, workers));
    return [=] {
        hold(static_cast<size_t>(file->malformed) == file->problems.size(), "problems that are not counted");
        for (const HotpotExample& x : file->examples) expect_consistent(x, text);
        const std::string written = hotpot_json(file->examples);
        const HotpotFile again = parse_hotpot("again", written, workers);
        hold(again.malformed == 0 && hotpot_json(again.examples) == written, "other examples when written");
    };
}

std::vector<std::string> hotpot_seeds() {
    const std::string official =
        R"({"_id":"5a","question":"Who is T?","answer":"é","type":"bridge","level":"easy","supporting_facts":[["T",1],["U",0]],"context":[["T",["One \"x\"."," Two."]],["U",["Three \u00e9\n."]]]})";
    const std::string columnar =
        R"({"id":"5b","question":"Q?","answer":"A","type":"bridge","level":"hard","supporting_facts":{"title":["T"],"sent_id":[0]},"context":{"title":["T","U"],"sentences":[["One."],["Two."]]}})";
    return {"[" + official + ",\n" + columnar + "]", columnar + "\n" + official + "\n",
            "[" + columnar + "," + official + "," + official + "]"};
}

std::vector<std::string> hotpot_pieces() {
    return json_pieces({"\\", "\\\"", "\\\\\"", "1e9", "-1", "[\"T\"", "99999999999999999999", "[[\"T\",[]]]",
                        "\"context\":", "\xEF\xBB\xBF", "NaN", "\t", "{\"rows\":"});
}

// --- npy and dataset.json

Holds read_npy(const std::string& bytes) {
    static const std::string from = fuzz_folder() + "/a.npy", to = fuzz_folder() + "/b.npy";
    put_file(from, bytes);
    const auto a = std::make_shared<NpyArray>(load_npy(from, true));
    return [=] {
        save_npy(to, a->x, a->rows, a->columns);
        const NpyArray again = load_npy(to, false);
        hold(again.rows == a->rows && again.columns == a->columns && again.x == a->x, "another array when written");
    };
}

std::vector<std::string> npy_seeds() {
    const auto file = [](std::string dict, const std::string& numbers) {
        dict.append(63 - (10 + dict.size()) % 64, ' ');
        return std::string("\x93NUMPY\1\0", 8) + static_cast<char>(dict.size() + 1) + '\0' + dict + "\n" + numbers;
    };
    const std::string eight("\1\0\0\0\2\0\0\0", 8);
    std::string second = file("{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }", eight);
    second[6] = '\2', second.insert(10, 2, '\0');
    return {file("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 1), }", eight),
            file("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", std::string("\5\0\0\0\0\0\0\0", 8)),
            file("{\"shape\":(1,1),\"fortran_order\":False,\"descr\":\"<i8\"}", std::string("\5\0\0\0\0\0\0\0", 8)),
            file("{'descr': '>u2', 'fortran_order': False, 'shape': (2, 2), }", eight),
            file("{'descr': '|i1', 'fortran_order': False, 'shape': (1, 8), }", eight),
            second};
}

// The labels of two sequences of six tokens, whose inputs lie in the folder already.
Holds read_zoology(const std::string& bytes) {
    static const std::string folder = fuzz_folder() + "/zoology";
    if (static bool made = false; !made) {
        std::filesystem::create_directories(folder);
        save_npy(folder + "/inputs.npy", {1, 70, 2, 80, 2, 1, 3, 90, 1, 70, 0, 3}, 2, 6);
        made = true;
    }
    put_file(folder + "/labels.npy", bytes);
    const auto d = std::make_shared<Dataset>(load_dataset(folder));
    return [=] {
        for (int n = 0; n < d->count * d->queries; ++n) {
            const int32_t *x = &d->tokens[n / d->queries * d->length], q = d->query[n], a = d->answer[n];
            hold(0 <= a && a < q && q < d->length, "a position out of the sequence");
            hold(x[a] == x[q] && x[a + 1] == d->label[n], "the right position is not the answer's");
        }
    };
}

std::string zoology_labels(const std::vector<int>& labels) {
    std::string file = npy_header("|i1", {2, 6});
    for (const int x : labels) file += static_cast<char>(x);
    return file;
}

// The arrays lie in the folder already: 3 sequences of 4 tokens.
Holds read_description(const std::string& bytes) {
    static const std::string from = fuzz_folder() + "/dataset", to = fuzz_folder() + "/dataset-again";
    if (static bool made = false; !made) {
        Dataset d;
        d.count = 3, d.length = 4, d.vocab = 8, d.queries = 1;
        d.tokens.assign(12, 1), d.query.assign(3, 2), d.answer.assign(3, 0), d.label.assign(3, 7);
        save_dataset(from, d, {}, 1);
        made = true;
    }
    put_file(from + "/dataset.json", bytes);
    const auto options = std::make_shared<TaskOptions>();
    const auto data = std::make_shared<Dataset>(load_dataset(from, options.get()));
    return [=] {
        std::filesystem::remove_all(to);
        save_dataset(to, *data, *options, 1);
        TaskOptions o, resolved = resolve(*options); // without "options" they are what they were
        const Dataset again = load_dataset(to, &o);
        const std::vector<Option> a = option_table(resolved), b = option_table(o);
        for (size_t i = 0; i < a.size(); ++i) hold(a[i].word() == b[i].word(), "other options when written");
        hold(again.vocab == data->vocab && again.tokens == data->tokens, "another dataset when written");
    };
}

// --- words

Holds read_words(const std::string& text) {
    return [=] {
        for (const Tokeniser t : {Tokeniser::whitespace, Tokeniser::letters}) {
            WordReader reader(t);
            std::string words, again;
            for (reader.read(text); reader.next(); words += ' ') {
                hold(!reader.word().empty(), "an empty word");
                words += reader.word();
            }
            for (reader.read(words); reader.next(); again += ' ') again += reader.word();
            hold(words == again, "words of words differ");
        }
    };
}

} // namespace

std::vector<Parser> data_parsers() {
    return {
        {"safetensors", Exit::bad_data, safetensors_seeds(), safetensors_pieces(), read_safetensors},
        {"safetensors-header", Exit::bad_data, headers(), safetensors_pieces(), read_header},
        {"hotpotqa", Exit::bad_data, hotpot_seeds(), hotpot_pieces(), read_hotpot},
        {"npy",
         Exit::bad_data,
         npy_seeds(),
         {"{",
          "}",
          "(",
          ")",
          ",",
          ":",
          "'",
          "\"",
          " ",
          "\n",
          "'descr'",
          "'<i8'",
          "'<i4'",
          "'>i4'",
          "'fortran_order'",
          "False",
          "True",
          "'shape'",
          "(1,)",
          "(2,1)",
          "()",
          "2147483647",
          "2147483648",
          "99999999999999999999",
          std::string("\0\0\0\x80\0\0\0\0", 8),
          "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"},
         read_npy},
        {"zoology",
         Exit::bad_data,
         {zoology_labels({-100, -100, -100, -100, 80, 70, -100, -100, -100, -100, -100, 90}),
          zoology_labels({-100, -100, -100, -100, -100, 70, -100, -100, -100, -100, -100, 90})},
         {"\x9C", "\x9C\x9C\x9C\x9C\x9C\x9C", "F", "P", "Z", "|u1", "<i2"},
         read_zoology},
        {"dataset",
         Exit::bad_data,
         {R"({"format":"fci dataset 1","vocab":8,"count":3,"length":4,"queries":1,"seed":1,"options":{"task":"der"}})",
          R"({ "vocab": 9, "format": "fci dataset 1", "options": {"task":"mqar","queries":"one","pairs":4,"vocab":64} })",
          R"({"format":"fci dataset 1","vocab":1048576})"},
         json_pieces({"\"format\":", "\"fci dataset 1\"", "\"vocab\":8", "\"count\":3", "\"length\":4", "\"queries\":1",
                      "\"seed\":", "\"options\":{}", "\"task\":\"der\"", "\"near-window\":", "\"min_distance\":",
                      "\"variant\":\"near\"", "\"filler-repeats-key\":true", "\"random-non-queries\":false"}),
         read_description},
        {"words",
         Exit::bad_data,
         {"In which town?", " Don't\tSTOP\x1c me,\xC2\xA0now", "ΟΔΟΣ' ΑΣ\u0301Α İZ", "\u212a\u1e9e\u2019Σ."},
         {"Σ", "Α", "\u0301", "'", "\u2019", "\u00a0", "\u2003", "İ", "\u212a", " ", ".", "1", "A", "\xFF", "\xC3",
          "\xE2\x82", "\xF0\x90\x90\x80", std::string(1, '\0')},
         read_words},
    };
}

} // namespace fci
