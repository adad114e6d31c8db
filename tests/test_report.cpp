// The report and the figures: markup that can contain any bytes, a page that has every claim and the table's numbers,
// and files that stay complete after errors.
#include <sstream>

#include "report/commands.h"
#include "report/draw.h"
#include "report/svg.h"
#include "study/layout.h"
#include "tests/faults/program.h"
#include "tests/well_formed.h"

using namespace fci;

namespace {

void expect_well_formed(const std::string& xml) {
    const auto wrong = not_well_formed(xml);
    INFO((wrong ? *wrong : ""));
    CHECK(!wrong);
}

size_t times(const std::string& text, const std::string& part) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
    return n;
}

std::unique_ptr<Page> page(const std::vector<std::string>& words, const std::string& results,
                           const std::string& scale = "paper") {
    PageOptions o;
    o.words = words, o.results = results, o.scale = scale;
    std::vector<std::string> notes;
    return gather(o, notes);
}

void write(const std::string& path, const std::string& text) { write_file_atomically(path, text); }

std::string epoch_line(double epoch, const std::string& routing) {
    return fmt::format("{{\"type\":\"epoch\",\"epoch\":{},\"routing_at_k\":{},\"routing_at_1\":1,\"accuracy\":1}}\n",
                       epoch, routing);
}

const std::string hostile = "\"><script>alert('x')</script>&amp;\x01\x80\xF0\x9F\xED\xA0\x80 é😀";

} // namespace

TEST_CASE("report: text of any bytes becomes markup that is well-formed and holds no tag", "[report]") {
    for (int c = 0; c < 256; ++c)
        for (const std::string& text :
             {std::string(1, static_cast<char>(c)), "a" + std::string(2, static_cast<char>(c)),
              std::string("\xE2\x89") + static_cast<char>(c)}) {
            const Markup m = element("p", {{"title", text}}, text);
            INFO("byte " << c << ": " << m.text());
            CHECK(!not_well_formed(m.text()));
        }
    const std::string s = element("p", {{"title", hostile}}, hostile).text();
    expect_well_formed(s);
    CHECK(times(s, "<") == 2);
    CHECK(times(s, "&lt;script&gt;") == 2);
    CHECK(times(s, "é😀") == 2);
    CHECK(Markup("a<b>&\"'\n\t").text() == "a&lt;b&gt;&amp;&quot;&#39;\n\t");
    CHECK(Markup(std::string("\xC0\x80", 2)).text() == "\xEF\xBF\xBD\xEF\xBF\xBD"); // overlong: no NUL
    CHECK(Markup("\xF4\x90\x80\x80").text().size() == 12);                          // beyond U+10FFFF: four bytes
    CHECK(Markup("\xEF\xBF\xBF").text() == "\xEF\xBF\xBD");                         // U+FFFF
}

TEST_CASE("report: the check of well-formedness sees what is wrong", "[report]") {
    for (const char* bad :
         {"<p>", "</p>", "<p></q>", "<p a=b></p>", "<p a=\"1\" a=\"2\"></p>", "<p>&nbsp;</p>", "a & b",
          "<p a=\"<\"></p>", "<p a=\"1></p>", "<p", "\x01", "\x80", "<p a></p>", "< p></p>"}) {
        INFO(bad);
        CHECK(not_well_formed(bad));
    }
    expect_well_formed("<!DOCTYPE html>\n<p a=\"1\" b-c=\"&lt;\"><br/>é</p>");
}

TEST_CASE("report: the answer alone, on a terminal", "[report][cli]") {
    const Ran r = run({"report", "--format", "text", "--results", "runs/results"});
    expect_ran(r, 0);
    std::string text = r.out;
    std::replace(text.begin(), text.end(), '\n', ' ');
    CHECK(text.find("In short: one layer of attention ") != std::string::npos);
    CHECK(text.ends_with(" rows have a run here. "));
    std::istringstream lines(r.out);
    for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 82); // in bytes: a ± is two
    expect_refused(run({"report", "--format", "text", "--out", "x"}), 2, "leave --out out");
}

TEST_CASE("report: numbers are short, and the same in every locale", "[report]") {
    const std::pair<double, const char*> cases[] = {
        {0, "0"},     {-0.001, "0"},    {12.5, "12.5"},          {1.0 / 3, "0.33"},
        {100, "100"}, {-2.25, "-2.25"}, {1e6 + 0.5, "1000000.5"}};
    for (const auto& [x, text] : cases) CHECK(short_number(x) == text);
    expect_error(error_of([] { short_number(NAN); }), Exit::internal, "nan");
    CHECK(element("line", {{"x1", 1.5}, {"class", ""}}).text() == "<line x1=\"1.5\"/>");
    CHECK(element("td", {{"class", "n"}}).text() == "<td class=\"n\"></td>");
}

TEST_CASE("report: the page has every claim, and the numbers of the table", "[report][recorded]") {
    const auto p = page({}, "runs/results");
    const std::string html = html_text(*p), md = markdown_text(*p);
    expect_well_formed(html);
    CHECK(html.size() < 3'000'000);
    CHECK(html.find("http") == std::string::npos); // the page fetches nothing
    const Claims claims = load_claims(p->study);
    CHECK(p->claims.size() == claims.all.size());
    for (const Claim& c : claims.all) {
        INFO(c.id);
        CHECK(times(html, Markup(c.words).text()) >= 1);
        CHECK(times(html, Markup(c.why).text()) >= 1);
        CHECK(c.why.size() <= 130);
    }
    std::vector<std::string> notes;
    const Results recorded("runs/results", "paper", notes);
    const std::vector<Row> all = p->study.select({"all"});
    const std::vector<Line> lines = lines_of(plan(all, *p->scale), recorded, {}, 0);
    std::vector<Line> of_page; // lines of claims come after the others
    for (const Line& l : p->lines)
        if (of_page.size() < lines.size()) of_page.push_back(l);
    TableOptions o;
    o.scale = "paper";
    CHECK(table_text(of_page, o) == table_text(lines, o));
    int numbers = 0;
    for (const Row& row : all) {
        const size_t begin = html.find("<code>" + row.label() + "</code><span class=\"r\">");
        for (const Line& l : lines) {
            if (l.of.row.label() != row.label() || l.ours.seeds == 0) continue;
            INFO(row.label() << " " << l.quantity << " " << ours_text(l));
            REQUIRE(begin != std::string::npos);
            const std::string fold = html.substr(begin, html.find("</details>", begin) - begin);
            CHECK(fold.find("<td class=\"n\">" + Markup(ours_text(l)).text() + "</td>") != std::string::npos);
            CHECK(fold.find("<td>" + Markup(verdict_of(l, "paper")).text() + "</td>") != std::string::npos);
            CHECK(fold.find(Markup(command_text(l, "paper")).text()) != std::string::npos);
            ++numbers;
        }
        CHECK(html.find("<code>" + row.label() + "</code>") != std::string::npos); // run or not
        CHECK(md.find(row.id) != std::string::npos);
    }
    CHECK(numbers > 80);
    for (const auto& [hash, r] : recorded.all()) // every run of a row has a line, except those of readings
        if (html.find(r.hash) == std::string::npos)
            for (const Line& l : lines) CHECK(family_hash(l.of.options) != family_hash(r.options));
    const size_t covered = std::count_if(p->coverage.begin(), p->coverage.end(),
                                         [](const Covered& c) { return cover_of(c) != Cover::not_run; });
    CHECK((p->coverage.size() == 76 && covered > 40));
    CHECK(rows_run(*p) <= covered);
    CHECK(times(html, "class=\"seed ") > 0); // wide intervals show their seeds
    for (const Reading& r : p->study.joint) {
        const std::string words = reading_words(r.settings);
        INFO(r.name << ": " << words);
        for (const std::string& key : r.settings.keys) // no option is named as in the file
            CHECK((key == "learning_rate" || words.find(key.substr(0, key.find('_')) + " ") != 0));
        CHECK(words.find('_') == std::string::npos);
    }
    CHECK(p->readings.size() > 1);
    for (const auto& [name, words] : p->readings) CHECK(times(html, Markup(words).text()) >= 1);
    CHECK(md.find("|---|") != std::string::npos);
}

TEST_CASE("report: a reading that ran is not left out, and one run is one dot", "[report][recorded]") {
    const auto p = page({"f2.raw"}, "runs/results");
    REQUIRE(p->many.size() == 1);
    const Many& many = p->many[0];
    CHECK(many.readings[0].name == "the default");
    size_t named = 0, dots = 0;
    std::set<std::string> families;
    for (const Mechanism& m : many.readings) {
        named += 1 + m.also.size();
        for (const Line* l : m.at)
            if (counts(l)) ++dots, families.insert(family_hash(l->of.options));
    }
    CHECK(dots == families.size());
    CHECK(static_cast<size_t>(many.low + many.between + many.high) == dots);
    std::vector<Row> readings;
    for (const Row& v : p->study.variants)
        if (v.id.starts_with("f2.raw@") && v.task == "der") readings.push_back(v);
    const Row raw = p->study.select({"f2.raw"})[0];
    for (Row& r : under(std::vector<Row>{raw}, p->study.joint)) readings.push_back(r);
    size_t ran = 1;
    for (const Row& r : readings) {
        const auto cases = plan({r}, *p->scale);
        ran += std::any_of(cases.begin(), cases.end(),
                           [&](const Case& c) { return !p->recorded.of_seeds(c.options, 0).empty(); });
    }
    CHECK(named == ran);
    CHECK(times(strip_of_readings(many).text(), "<circle") == dots);
    CHECK(p->claims.size() >= 1);
    for (const ClaimStrips& c : p->claims) {
        INFO(c.judged.claim.id);
        CHECK(std::any_of(c.judged.rows.begin(), c.judged.rows.end(), [](const Row& r) { return r.id == "f2.raw"; }));
    }
}

TEST_CASE("report: without any result the page says so", "[report]") {
    Scratch s;
    const auto p = page({}, s / "none", "smoke"); // nothing is recorded at this scale
    for (const std::string& text : {html_text(*p), markdown_text(*p)}) {
        CHECK(text.find("Nothing has run yet at scale smoke") != std::string::npos);
        CHECK(text.find("not run") != std::string::npos);
    }
    expect_well_formed(html_text(*p));
    CHECK(p->runs == 0);
}

TEST_CASE("report: rows with hostile names stay text", "[report]") {
    Scratch s;
    const std::string toml = s / "own.toml";
    write(toml,
          "[[row]]\nid = \"<b>x|y</b>&'\"\nwhere = \"</details><script>\"\nnote = \"<img src=x>\"\ntask = \"der\"\n"
          "representation = \"raw\"\npaper = { routing = \"1\" }\n");
    const auto p = page({toml}, s / "none", "smoke");
    const std::string html = html_text(*p), md = markdown_text(*p);
    expect_well_formed(html);
    CHECK(times(html, "<script>") == 1); // our own
    CHECK(html.find("<img") == std::string::npos);
    CHECK(html.find("&lt;b&gt;x|y&lt;/b&gt;&amp;&#39;") != std::string::npos);
    CHECK(md.find("<b>") == std::string::npos);
    CHECK(md.find("x\\|y") != std::string::npos);
}

TEST_CASE("plot: figures are well-formed, and the same bytes each time", "[report][recorded]") {
    for (const char* figure : {"figure2", "figure3", "figure4", "figure5", "figure6", "scaling"}) {
        INFO(figure);
        PlotOptions o;
        o.figure = figure, o.scale = "paper", o.results = "runs/results";
        const std::string svg = plot_svg(o);
        expect_well_formed(svg);
        CHECK(svg == plot_svg(o));
        CHECK(times(svg, "class=\"paper") + times(svg, "class=\"ln") >= 2);
    }
    PlotOptions o;
    o.figure = "figure44";
    expect_error(error_of([&] { plot_svg(o); }), Exit::usage, "figure4");
    Scratch s;
    o.figure = "figure2", o.results = s / "none", o.scale = "smoke";
    expect_error(error_of([&] { plot_svg(o); }), Exit::usage, "there are no results");
}

TEST_CASE("plot: scaling takes numbers only, and names the line", "[report]") {
    Scratch s;
    PlotOptions o;
    o.figure = "scaling", o.data = s / "scaling.tsv";
    const std::string head = "method\tn\tms\tMB\tns_per_token\n";
    expect_error(error_of([&] { plot_svg(o); }), Exit::usage, "no such file");
    for (const char* line : {"full\t256\t`id`\t1\t1", "full\t256\tnan\t1", "full\t256\t1", "full\t0\t1\t1",
                             "full\t-1\t1\t1", "full\t1e999\t1\t1", "\t1\t1\t1", "EOD", "full\t1 \t1\t1"}) {
        INFO(line);
        write(o.data, head + "full\t256\t1\t1\t1\n" + line + "\n");
        expect_error(error_of([&] { plot_svg(o); }), Exit::bad_data, "scaling.tsv:3:");
    }
    write(o.data, head);
    expect_error(error_of([&] { plot_svg(o); }), Exit::bad_data, "no line of numbers");
    write(o.data, "what\n");
    expect_error(error_of([&] { plot_svg(o); }), Exit::bad_data, "not what `fci bench");
    write(o.data, head + "<svg onload=x>\t256\t1\t2\n<svg onload=x>\t512\t3\t4\n");
    const std::string svg = plot_svg(o);
    expect_well_formed(svg);
    CHECK(svg.find("&lt;svg onload") != std::string::npos);
}

TEST_CASE("plot: curves of any runs, by folder or by log", "[report]") {
    Scratch s;
    PlotOptions o;
    o.figure = "curves";
    expect_error(error_of([&] { plot_svg(o); }), Exit::usage, "which runs?");
    const std::string run = s / "a <&> \"run\"";
    std::filesystem::create_directories(run);
    std::filesystem::create_directories(s / "b");
    write(run + "/log.jsonl", "{\"type\":\"step\",\"ms\":1}\n" + epoch_line(1, "10") + epoch_line(2, "90.25"));
    write(s / "b/log.jsonl", epoch_line(1, "20"));
    o.runs = {run, s / "b/log.jsonl"};
    const std::string svg = plot_svg(o);
    expect_well_formed(svg);
    CHECK(svg.find("90.2  a &lt;&amp;&gt; &quot;run&quot;") != std::string::npos);
    CHECK(svg.find(">20.0  b<") != std::string::npos);
    o.runs = std::vector<std::string>(40, run); // any number: none is dropped
    const std::string many = plot_svg(o);
    expect_well_formed(many);
    const double height = std::stod(many.substr(many.find("height=\"") + 8));
    for (size_t at = 0; (at = many.find(" y=\"", at)) != std::string::npos; ++at)
        CHECK(std::stod(many.substr(at + 4)) <= height);

    for (const char* routing : {"null", "101", "-1", "\"x\""}) {
        INFO(routing);
        write(s / "b/log.jsonl", epoch_line(1, "20") + epoch_line(2, routing));
        o.runs = {s / "b"};
        expect_error(error_of([&] { plot_svg(o); }), Exit::bad_data, "log.jsonl");
    }
    write(s / "b/log.jsonl", epoch_line(2, "20") + epoch_line(1, "20"));
    expect_error(error_of([&] { plot_svg(o); }), Exit::bad_data, "after epoch 2");
    write(s / "b/log.jsonl", "{\n");
    expect_error(error_of([&] { plot_svg(o); }), Exit::bad_data, "not JSON");
    o.runs = {s / "nobody"};
    expect_error(error_of([&] { plot_svg(o); }), Exit::usage, "no such log");
}

TEST_CASE("report and plot: what cannot be written is an error, and the earlier file stays", "[report][cli]") {
    Scratch s;
    const std::string out = s / "a.svg", report = s / "a.html";
    write(out, "before"), write(report, "before");
    const Words scaling{"plot", "scaling", "--out", out}, one{"report", "t1.raw", "--out", report, "--scale", "smoke"};
    for (const Words& words : {scaling, one})
        expect_refused(run(words, [] { limit_file_size(2000); }), 1, "cannot be written");
    CHECK(read_file(out) == "before");
    CHECK(read_file(report) == "before");
    CHECK(s.names() == std::set<std::string>{"a.html", "a.svg"});
    expect_refused(run({"plot", "scaling", "--out", s / "no/a.svg"}), 1, "cannot be written");
    expect_refused(run({"plot", "scaling", "--out", s / "a.png"}), 2, "expected a name that ends with .svg");
    expect_refused(run({"plot", "scaling", "x", "--out", out}), 2, "runs are for");
    expect_ran(run(scaling), 0, out);
    expect_ran(run(one), 0, report);
    expect_well_formed(read_file(out));
    expect_well_formed(read_file(report));
    expect_refused(run({"report", "--scale", "papper"}), 2, "paper");
    expect_refused(run({"report", "f2.rawr", "--out", report}), 2, "f2.raw");
    expect_refused(run({"report", "f2.raw@search", "--out", report}), 2, "--reading key-uniform-same-everywhere");
}

TEST_CASE("tables: LaTeX, JSON and what fits a terminal", "[report][study]") {
    const Cells cells{{"a", "b_c"}, {"1 & 2 % $x$ \\ ±", "<=2.5"}, {"\"q\"\n", ""}};
    CHECK(latex(cells) == "\\begin{tabular}{ll}\n\\toprule\na & b\\_c \\\\\n\\midrule\n"
                          "1 \\& 2 \\% \\$x\\$ \\textbackslash{} $\\pm$ & \\textless{}=2.5 \\\\\n\"q\"  &  \\\\\n"
                          "\\bottomrule\n\\end{tabular}\n");
    CHECK(latex({{"--b"}, {"a---c-d"}}).find("\n-{}-b \\\\\n\\midrule\na-{}-{}-c-d \\\\\n") != std::string::npos);
    CHECK(json_lines(cells) ==
          "[{\"a\":\"1 & 2 % $x$ \\\\ ±\",\"b_c\":\"<=2.5\"},\n{\"a\":\"\\\"q\\\"\\u000a\",\"b_c\":\"\"}]\n");
    CHECK(json_lines({{"n"}, {"1.5"}, {""}}, {"n"}) == "[{\"n\":1.5},\n{\"n\":null}]\n");
    Cells wide{{"one", "two", "three"}, {"1111", "22222222", "±"}};
    CHECK(fit(wide, {"two", "one"}, 0).empty());
    CHECK(fit(wide, {"two", "one"}, 21).empty()); // 4 + 2 + 8 + 2 + 5
    CHECK(fit(wide, {"two", "one"}, 20) == "columns left out to fit the width: two\n");
    CHECK(wide == Cells{{"one", "three"}, {"1111", "±"}});
    CHECK(fit(wide, {"one"}, 1).find(": one\n") != std::string::npos);
    const Cells prose{{"a", "b"}, {"x", "one two three"}, {"y y y", "±"}};
    CHECK(aligned(prose) == "a      b\nx      one two three\ny y y  ±\n");
    CHECK(aligned(prose, 15) == "a      b\nx      one two\n       three\ny y y  ±\n");
    CHECK(aligned(prose, 1) == "a  b\n\nx  one\n   two\n   three\n\ny  ±\ny\ny\n"); // no narrower than its longest word
    const auto dress = [](const std::string& part, const std::string& cell, size_t) {
        return cell == "one two three" ? "<" + part + ">" : part;
    };
    CHECK(aligned(prose, 15, dress) == "a      b\nx      <one two>\n       <three>\ny y y  ±\n");
    CHECK(aligned({{"a"}, {"f2.raw@key-uniform-same-everywhere ok"}}, 20) ==
          "a\nf2.raw@key-uniform-\nsame-everywhere ok\n"); // a long name breaks after its marks
    CHECK(wrapped("aa bb cc\ndd", 5) == "aa bb\ncc\ndd");
    CHECK(wrapped("  --a  one two three\n", 16) == "  --a  one two\n       three\n");
    CHECK(wrapped("  ± one two", 7) == "  ± one\n  two");
    CHECK(wrapped("   abcdef", 3) == "   abcdef");
    CHECK(wrapped("abcdef gh", 3) == "abcdef\ngh");
    CHECK(wrapped("a b", 0) == "a b");
    CHECK(sentences_in("a\nb\n", "latex") == "% a\n% b\n");
}
