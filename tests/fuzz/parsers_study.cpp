// The parsers of studies and runs: results, log.jsonl, the run's configuration, TOML files of runs/, flags.
#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "core/files.h"
#include "core/json.h"
#include "study/claims.h"
#include "study/execute.h"
#include "study/order.h"
#include "study/plan.h"
#include "study/registered.h"
#include "study/results.h"
#include "study/rows.h"
#include "tests/fuzz/parsers.h"
#include "train/run_log.h"

namespace fci {
namespace {

using Holds = std::function<void()>;

// --- results and logs

std::string provenance_of(Options o) { // the same on every machine
    Json options = Json::object();
    for (const Option& each : table(o)) options.add(each.key, Json::raw(each.text()));
    return Json::object().add("device", "cpu").add("data_hash", "00c0ffee").add("options", options).text();
}

void expect_same_written(const Result& r) {
    const std::string line = to_json(r);
    const std::optional<Result> again = from_json(line, "again");
    hold(again && to_json(*again) == line, "another result when written");
}

Holds read_result(const std::string& line) {
    const std::optional<Result> r = from_json(line, "fuzzed");
    if (!r) return {}; // of another version
    return [r = std::make_shared<Result>(*r)] { expect_same_written(*r); };
}

Holds read_log_file(const std::string& bytes) {
    static const std::string path = fuzz_folder() + "/log.jsonl";
    put_file(path, bytes);
    const auto r = std::make_shared<Result>();
    static_cast<void>(read_run_log(path)); // which refuses nothing
    read_log(path, *r);
    return [=] {
        r->scale = "smoke", r->hash = run_hash(r->options), r->provenance = provenance_of(r->options);
        expect_same_written(*r);
    };
}

std::vector<std::string> result_seeds() {
    Result r;
    r.hash = run_hash(r.options), r.scale = "smoke", r.provenance = provenance_of(r.options);
    std::vector<std::string> seeds{to_json(r)};
    r.metrics = {31.25, 7.0, {}}, r.chance = {6.1, 2.4, 20.0}, r.queries = 1000, r.transition_epoch = 7;
    r.final = FinalTest{r.metrics, 40.0, {}, 1e-3, 10000};
    r.analysis = {{"rank", 97.2}, {"cosine_gap", -0.6}}, r.curve = {{1, 1.7, NAN, 0.4}, {2, 3.4, 1.1, 0.5}};
    r.seconds = 12.5, r.on = MeasuredOn{"a.json", "00c0ffee", 500, 3191224, true};
    seeds.push_back(to_json(r));
    r.on.reset(), r.stopped_after = 15;
    seeds.push_back(to_json(r));
    return seeds;
}

// --- the run's configuration, and flags: options in, options out

Holds read_config(const std::string& text) {
    const auto o = std::make_shared<Options>();
    read_toml(*o, text, "fuzzed", Exit::usage);
    return [=] {
        const std::string written = write_toml(*o, true);
        Options again;
        read_toml(again, written, "again");
        hold(write_toml(again, true) == written, "other options when written");
    };
}

std::shared_ptr<GivenOptions> given_by(std::vector<std::string> words) {
    CLI::App app("fuzzed");
    const auto given = std::make_shared<GivenOptions>();
    given->add_flags(app, {Option::task, Option::model, Option::train, Option::run});
    check_flags(app);
    std::reverse(words.begin(), words.end()); // as CLI11 wants them
    app.parse(words);
    given->set();
    return given;
}

// A word a line. The first may name a command: then its flags are read, too.
Holds read_flags(const std::string& lines) {
    std::vector<std::string> words;
    for (size_t begin = 0, end; begin < lines.size(); begin = end + 1) {
        end = std::min(lines.find('\n', begin), lines.size());
        words.push_back(lines.substr(begin, end - begin));
    }
    try {
        for (const Command* c : commands()) {
            if (words.empty() || words[0] != c->name) continue;
            CLI::App app("fci");
            CLI::App* const command = app.add_subcommand(c->name, c->line)->allow_extras();
            const auto act = c->add(*command); // holds what the flags are bound to
            check_flags(*command);
            std::reverse(words.begin(), words.end());
            app.parse(words);
            return [] {};
        }
        const auto given = given_by(words);
        return [=] {
            std::vector<std::string> flags;
            for (const Option& o : table(given->options))
                if (!std::holds_alternative<bool*>(o.value)) {
                    if (!o.word().empty()) flags.push_back(o.flag() + "=" + o.word());
                } else if (o.word() == "true")
                    flags.push_back(o.flag());
            hold(write_toml(given_by(flags)->options, true) == write_toml(given->options, true),
                 "other options by their flags");
        };
    } catch (const CLI::ParseError& wrong) {
        fail(Exit::usage, "{}", wrong.what());
    }
}

// --- TOML files of runs/

std::string keys_of(const Settings& s) {
    Options values = s.values;
    std::string text;
    for (const std::string& key : s.keys) text += key + " = " + find_option(table(values), key)->text() + "\n";
    return text;
}

Study study_of(const char* file, const std::string& text) {
    static const std::string folder = [] {
        const std::string path = fuzz_folder() + "/runs";
        std::filesystem::create_directory(path);
        return path;
    }();
    for (const char* name : {"rows.toml", "scales.toml", "readings.toml"})
        if (std::string(name) == file)
            put_file(folder + "/" + name, text);
        else if (std::string(file) == "readings.toml" && std::string(name) == "rows.toml")
            put_file(folder + "/" + name, "[[row]]\nid = \"a\"\n[[row]]\nid = \"b\"\nneeds = \"hotpotqa\"\n");
        else
            std::filesystem::remove(folder + "/" + name);
    return load_study(folder);
}

Holds read_rows_file(const std::string& text) {
    const auto study = std::make_shared<Study>(study_of("rows.toml", text));
    return [=] {
        const std::vector<Row> rows = study->select({"all"});
        hold(rows.size() == study->rows.size(), "all are not all rows");
        std::string written;
        for (const Row& r : rows) {
            written += "[[row]]\nid = " + json_quote(r.id) + "\n" + keys_of(r.settings);
            for (const auto& [key, value] :
                 {std::pair("reading", r.reading), {"needs", r.needs}, {"measure", r.measure}})
                if (!value.empty()) written += fmt::format("{} = {}\n", key, json_quote(value));
            for (const auto& [quantity, value] : r.paper)
                written += fmt::format("paper.{} = {}\n", quantity, json_quote(value));
        }
        const Study again = study_of("rows.toml", written);
        hold(again.rows.size() == rows.size(), "other rows when written");
        for (size_t i = 0; i < rows.size(); ++i)
            hold(rows[i].label() == again.rows[i].label() && rows[i].paper == again.rows[i].paper &&
                     keys_of(rows[i].settings) == keys_of(again.rows[i].settings),
                 "another row when written");
    };
}

std::string scales_text(const Study& s) {
    std::string text;
    for (const Scale& scale : s.scales) {
        std::string rates;
        for (const double rate : scale.learning_rates) rates += fmt::format("{:e}, ", rate);
        text += fmt::format("[{}]\nlearning_rates = [{}]\n{}", json_quote(scale.name), rates, keys_of(scale.any));
        for (const auto& [task, settings] : scale.tasks)
            text += fmt::format("[{}.{}]\n{}", json_quote(scale.name), task, keys_of(settings));
    }
    return text;
}

Holds read_scales(const std::string& text) {
    const auto study = std::make_shared<Study>(study_of("scales.toml", text));
    return [=] {
        const std::string written = scales_text(*study);
        hold(scales_text(study_of("scales.toml", written)) == written, "other scales when written");
    };
}

Holds read_readings(const std::string& text) {
    const auto study = std::make_shared<Study>(study_of("readings.toml", text));
    return [=] {
        for (const Reading& r : study->joint) under(study->rows[1], r);
    };
}

// What has no writer: read twice, it is read alike.
template <class Read>
Holds read_twice(Read read) {
    const size_t n = read();
    return [=] { hold(read() == n, "read twice, another"); };
}

std::string file_in_runs(const char* name) { return read_file(std::string("runs/") + name); }

} // namespace

std::vector<Parser> study_parsers() {
    const std::vector<std::string> toml{"=",
                                        "\"",
                                        "'",
                                        "\"\"\"",
                                        "'''",
                                        "[",
                                        "]",
                                        "[[",
                                        "]]",
                                        "{",
                                        "}",
                                        "#",
                                        "\n",
                                        ".",
                                        ",",
                                        "\\u0000",
                                        "\\u001b",
                                        "\\",
                                        "\x7F",
                                        "\r",
                                        "\xFF",
                                        "nan",
                                        "-inf",
                                        "true",
                                        "0x1",
                                        "1e999",
                                        "-1",
                                        "9223372036854775807",
                                        "1979-05-27",
                                        "1_000",
                                        "task = \"mqar\"\n",
                                        "learning_rate = 1e-3\n",
                                        "layers = 2\n",
                                        "router = \"bm25\"\n",
                                        "data = \"a\"\n",
                                        "a.b.c = 1\n"};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.end(), toml.begin(), toml.end());
        return more;
    };
    Options changed;
    changed.task.task = "mqar", changed.train.data = "a \"b\"\\ \xC3\xA9\n", changed.train.learning_rate = 1e-3;
    changed.run.precision = "tf32";
    return {
        {"results", Exit::bad_data, result_seeds(),
         json_pieces({"\"version\":1", "\"version\":-1", "\"stopped_after\":3", "\"metrics\":", "\"curve\":[[1,2,3,4]]",
                      "\"analysis\":{}", "\"options\":{}", "\"seed\":2", "\"on\":", "\"final\":", "\"queries\":"}),
         read_result},
        {"log",
         Exit::bad_data,
         {R"({"type":"step","step":1,"epoch":1,"loss":5.5,"answer_loss":5.5,"routing_loss":null,"ms":1.250})"
          "\n"
          R"({"type":"epoch","epoch":1,"step":8,"routing_at_k":31.25,"routing_at_1":7,"accuracy":0.4,"transition":true})"
          "\n"
          R"({"type":"final","step":8,"routing_at_k":31.25})"
          "\n",
          "{}\n[1]\n{\"type\":\"epoch\",\"epoch\":1}\n"},
         json_pieces({"\"type\":\"epoch\"", "\"type\":\"step\"", "\"epoch\":2", "\"ms\":1e308", "\"transition\":true"}),
         read_log_file},
        {"config",
         Exit::usage,
         {write_toml(changed, true), "[provenance]\nfci = \"1\"\n"},
         with({"[provenance]\n"}),
         read_config},
        {"rows",
         Exit::usage,
         {file_in_runs("table1.toml"), file_in_runs("section46.toml"), "[[joint]]\nname = \"x\"\n"},
         with({"[[row]]\n", "id = \"x\"\n", "paper = { routing = \"~2\" }\n", "measure = \"rank\"\n",
               "needs = \"weights\"\n", "reading = \"x\"\n", "[[joint]]\n", "heads = [2, 4]\n",
               "learning_rate = [1e-3, 3e-4]\n"}),
         read_rows_file},
        {"scales",
         Exit::usage,
         {file_in_runs("scales.toml"), "[a]\nlearning_rates = [1]\n[a.mqar]\npairs = 4\n"},
         with({"[a.mqar]\n", "learning_rates = [1e-3]\n", "[a]\n"}),
         read_scales},
        {"readings",
         Exit::usage,
         {"[[readings]]\nrows = [\"a\"]\ntop_k = [1, 2]\n",
          "[[joint]]\nname = \"{query_row}-x\"\nset = \"s\"\nquery_row = [\"key\", \"marker\"]\nlearning_rate = "
          "1e-3\n"},
         with({"[[readings]]\n", "rows = [\"a\"]\n", "[[joint]]\n", "name = \"{top_k}\"\n", "set = \"x\"\n",
               "top_k = [1, 2]\n"}),
         read_readings},
        {"claims",
         Exit::usage,
         {file_in_runs("claims.toml")},
         with({"[[claim]]\n", "rows = [\"a\"]\n", "reading = "}),
         [](const std::string& s) { return read_twice([=] { return read_claims(s, "fuzzed").all.size(); }); }},
        {"registered",
         Exit::usage,
         {file_in_runs("registered.toml")},
         with({"[[row]]\n", "expected = ", "readings = ", "seen = "}),
         [](const std::string& s) {
             static const std::vector<Reading> joint = load_study("runs").joint;
             return read_twice([=] { return read_registered(s, "fuzzed", joint).entries.size(); });
         }},
        {"order",
         Exit::usage,
         {file_in_runs("order.toml")},
         with({"[[entry]]\n", "seeds = [1]\n", "scale = "}),
         [](const std::string& s) { return read_twice([=] { return read_order(s, "fuzzed").entries.size(); }); }},
        {"flags",
         Exit::usage,
         {"--task\nmqar\n--length=64\n--precision=tf32\n--learning-rate\n1e-3\n--out\na b",
          "--data=x\n--seed=2\n--quiet", "train\n--task=der\n--json", "sweep\ntable1\n--scale\nsmoke",
          "table\n--claims", "plot\ncurves\na", "eval\n--task\nhotpotqa\n--method\nbm25"},
         {"\n",
          "=",
          "--",
          "-",
          "--task",
          "--length",
          "--seed",
          "--no-quiet",
          "--quiet=false",
          "--data",
          "train",
          "eval",
          "show",
          "analyze",
          "generate",
          "bench",
          "rows",
          "sweep",
          "reproduce",
          "table",
          "report",
          "plot",
          "--scale",
          "--seeds",
          "--help",
          "-1",
          "1e999",
          "9223372036854775807",
          "9223372036854775808",
          "nan",
          "",
          "\xFF",
          "\x1b",
          "{}",
          "[",
          "]",
          "%%",
          "--config"},
         read_flags},
    };
}

} // namespace fci
