#include "report/commands.h"

#include <algorithm>
#include <filesystem>

#include "cli/command.h"
#include "core/files.h"
#include "core/streams.h"
#include "study/layout.h"
#include "train/progress.h"

namespace fci {
namespace {

void write_out(const std::string& out, const std::string& text, const std::string& say = "") {
    expect_writable(out);
    write_file_atomically(out, text);
    fmt::print("{}{}\n", say, out);
}

// The report's summary in a paragraph, for a terminal.
std::string answer(const Page& p) {
    std::string s;
    for (const Piece& piece : p.lede) s += piece.text;
    return fmt::format("{}{}{}{} of {} rows have a run here.\n", s, s.ends_with(' ') ? "" : " ",
                       p.newest.empty() ? "" : "The newest result is of " + p.newest + ". ", rows_run(p),
                       p.coverage.size());
}

Exit report(PageOptions o) {
    if (o.format == "text" && !o.out.empty())
        fail(Exit::usage, "--out {}: --format text is only printed; leave --out out", o.out);
    if (o.out.empty()) o.out = o.format == "md" ? "report.md" : "report.html";
    expect_results(o.results);
    std::vector<std::string> notes;
    const std::unique_ptr<Page> page = gather(o, notes);
    std::sort(notes.begin(), notes.end()); // own results and record may be the same folder
    notes.erase(std::unique(notes.begin(), notes.end()), notes.end());
    for (const std::string& note : notes) complain("fci report: {}\n", note);
    const std::string says = wrapped(answer(*page), terminal_width(stdout, 80));
    if (o.format == "text")
        fmt::print("{}", says);
    else
        write_out(o.out, o.format == "md" ? markdown_text(*page) : html_text(*page), says);
    return Exit::ok;
}

std::function<Exit()> add_report(CLI::App& app) {
    const auto page = std::make_shared<PageOptions>();
    app.add_option("rows", page->words, "ids, groups (table1), FILE.toml, or all (default)");
    app.add_option("--reading", page->reading,
                   "the joint reading beside the defaults (default: that of runs/claims.toml)")
        ->check(not_empty());
    app.add_option("--scale", page->scale, "paper (default), small or smoke: only paper has verdicts");
    app.add_option("--results", page->results,
                   "folder of results (default runs/out/results); recorded results fill the gaps")
        ->check(not_empty());
    app.add_option("--format", page->format, "html (default), md, or text: the answer alone, printed")
        ->check(CLI::IsMember({"html", "md", "text"}));
    app.add_option("--out", page->out, "the file to write (default report.html, report.md)")->check(not_empty());
    return [page] { return report(*page); };
}

std::function<Exit()> add_plot(CLI::App& app) {
    const auto plot = std::make_shared<PlotOptions>();
    app.add_option("figure", plot->figure,
                   "figure2 to figure6, scaling or curves; with --x, rows: ids, a group, the name of a sweep")
        ->required();
    app.add_option("runs", plot->runs, "curves: run folders, their checkpoints or log.jsonl");
    app.add_option("--x", plot->x, "the option of the rows along x, e.g. learning-rate")->check(not_empty());
    app.add_option("--y", plot->y,
                   "the quantity along y: " + fmt::format("{}", fmt::join(quantities(), ", ")) +
                       " (default routing): mean and range of the seeds")
        ->check(not_empty());
    app.add_option("--out", plot->out, "the SVG to write (default FIGURE.svg)")->check(not_empty());
    app.add_option("--reading", plot->reading, "draw the rows under this joint reading")->check(not_empty());
    app.add_option("--scale", plot->scale, "paper, small or smoke")->capture_default_str();
    app.add_option("--results", plot->results, "folder of results; recorded results fill the gaps")
        ->capture_default_str();
    app.add_option("--data", plot->data, "scaling: what fci bench --scaling --out wrote")->capture_default_str();
    return [plot] {
        expect_results(plot->results);
        const std::string svg = plot_svg(*plot);
        if (plot->out.empty()) plot->out = std::filesystem::path(plot->figure).stem().string() + ".svg";
        if (!plot->out.ends_with(".svg")) fail(Exit::usage, "--out {}: expected a name that ends with .svg", plot->out);
        write_out(plot->out, svg);
        return Exit::ok;
    };
}

} // namespace

namespace command_entries {

extern const Command report{"report", "whether the paper's claims hold, with figures and rows, on one page",
                            "  fci report\n"
                            "  fci report --out report.html\n"
                            "  fci report figure4 table3 --scale small --out small.html\n"
                            "  fci report --format md --out report.md\n",
                            add_report};

extern const Command plot{"plot", "draw a figure as SVG",
                          "  fci plot figure2 --scale paper --out figure2.svg\n"
                          "  fci plot scaling --data scaling.tsv --out scaling.svg\n"
                          "  fci plot w --x learning-rate --y accuracy --out w.svg\n"
                          "  fci plot curves runs/out/NAME runs/out/OTHER --out curves.svg\n",
                          add_plot};

} // namespace command_entries

} // namespace fci
