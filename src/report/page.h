// The content of the report, gathered from rows, claims and results, but not yet drawn: html.cpp and markdown.cpp write
// the same Page. Every number in it is computed here or by src/study; no text contains a fixed number.
#pragma once
#include <memory>

#include "study/claims.h"
#include "study/registered.h"

namespace fci {

struct PageOptions {
    std::vector<std::string> words; // rows; empty: all
    std::string scale = "paper", results = default_results, reading, format = "html", out;
};

// One strip: the paper's number, and ours.
struct Mechanism {
    Row row;
    std::string name, quantity, paper;
    std::vector<const Line*> at;   // ours, at one rate or several; null where there is none
    const Line* under = nullptr;   // ours under the joint reading
    std::vector<std::string> also; // for a reading: others with the same runs

    bool ran() const;
    const Line* at_rate(double rate) const; // a row without a learning rate has its line at any rate
    bool one_number() const;                // the row has no learning rate, or no number
    std::optional<double> chance() const;   // of the first line that ran
};
bool counts(const Line*); // it has a number, or ran without a transition

struct Group {
    std::string name;
    std::vector<Mechanism> of;
};
struct Section { // a figure or table of the paper
    std::string title, caption;
    std::vector<Group> groups;
};

// Routing by epoch over the seeds of a row at one rate.
struct Series {
    std::optional<double> rate;
    int seeds = 0;
    std::vector<double> epoch, mean, low, high;
};
struct Panel {
    Mechanism of;
    std::vector<Series> series;
    std::string jump; // the paper's epoch of the transition; may be empty
};

struct ClaimStrips {
    Judged judged;
    std::vector<Mechanism> strips; // one per row
};

// A row under every reading that ran.
struct Many {
    std::string claim;
    Mechanism default_;
    std::vector<Mechanism> readings;    // the default reading first
    int low = 0, between = 0, high = 0; // counts: at most 3 above chance; between; 95 or more
};

struct RunOf {
    const Result* result;
    std::string rate, commit, data, device, date; // date: older results have none
};
struct Fold {
    Row row;
    std::vector<const Line*> lines; // every quantity at every rate
    std::vector<RunOf> runs;
    std::vector<Series> series;
};
struct FoldGroup {
    std::string name; // "Table 1"
    std::vector<Fold> folds;
};

struct ControlsOf {
    Controls controls;
    std::vector<std::string> rows;
};

struct Wrong {
    Cell cell;
    Came came;
};
struct Forecasts {
    int ran = 0, forecast = 0;
    std::vector<Wrong> wrong;
};

struct Piece { // a part of a sentence
    std::string text;
    bool strong = false;
};

struct Page {
    PageOptions options;
    std::string commit, newest; // newest: date of the newest result; empty: no result has a date
    Study study;
    const Scale* scale = nullptr;
    std::string reading; // a joint reading; may be empty
    Results own, recorded;
    ControlsOfRows controls_of_rows;        // computed once for all lines
    bool by_record = false;                 // the results are the recorded ones
    std::vector<Line> lines, under, others; // without a reading; under the reading; other readings

    int runs = 0;
    double seconds = 0;
    std::vector<Piece> lede;
    std::vector<Covered> coverage;
    std::vector<ClaimStrips> claims;
    std::vector<Many> many;
    std::vector<std::pair<std::string, std::string>> readings; // joint readings that ran, in words
    std::vector<Panel> panels;                                 // Figure 2
    std::vector<std::string> no_panel;
    std::vector<Section> sections;
    std::vector<FoldGroup> folds;
    std::vector<ControlsOf> controls;
    std::vector<std::string> untested; // rows
    std::optional<Forecasts> forecasts;
    std::vector<std::string> differences; // of the user's own results from the record
    int compared = 0;
    std::vector<std::pair<std::string, std::string>> words; // glossary
};

// Pointers into the page's lines are kept, so the Page must stay in place.
std::unique_ptr<Page> gather(const PageOptions&, std::vector<std::string>& notes);
std::string mechanism_name(const Row&, const std::string& quantity); // "flow:2 · segment-mean, MQAR"
std::string value_text(const Line&);                                 // "99.8", as tables have it; "none": no transition
std::string paper_text(const std::string& paper);                    // "≤2.5"
std::string minus(std::string);                                      // replaces '-' by a true minus sign
std::string tail_text(const Line&);                    // "±0.4", half the width of the 95% interval; "¹" for one seed
std::string says(const Line&);                         // the whole line in words
std::string verdict_words(const Judged&, const Page&); // "holds at 1e-3 only"
enum class Cover { full, one_seed, one_rate, sample, not_run, needs };
Cover cover_of(const Covered&);
const char* cover_text(Cover, const Scale&);
size_t rows_run(const Page&);               // number of covered ids with a run
std::string reading_words(const Settings&); // "the query is the key's row; decoys carry the same key"

std::string html_text(const Page&);
std::string markdown_text(const Page&);

} // namespace fci
