// What the report says, gathered from rows, claims and results and not yet drawn: html.cpp and markdown.cpp write the
// same Page. Every number in it is computed here or by src/study; none is written in a text.
#pragma once
#include <memory>

#include "study/claims.h"
#include "study/registered.h"

namespace fci {

struct PageOptions {
    std::vector<std::string> words; // rows; none: all
    std::string scale = "paper", results = default_results, reading, format = "html", out;
};

// One strip: a number of the paper, and ours.
struct Mechanism {
    Row row;
    std::string name, quantity, paper;
    std::vector<const Line*> at;   // ours, at one rate or several; without any: null
    const Line* under = nullptr;   // ours under the joint reading
    std::vector<std::string> also; // of a reading: others that come to the same runs

    bool ran() const;
    const Line* at_rate(double rate) const; // that of a row without a learning rate at any
    bool one_number() const;                // at no rate: of a row without a learning rate, or of none
    std::optional<double> chance() const;   // of the first that ran
};
bool counts(const Line*); // it has a number, or that there is none

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
    std::vector<Mechanism> strips; // by its rows
};

// A row under every reading that ran.
struct Many {
    std::string claim;
    Mechanism default_;
    std::vector<Mechanism> readings;    // the default first
    int low = 0, between = 0, high = 0; // numbers no more than 3 above their chance, between, from 95
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

struct Piece { // of a sentence
    std::string text;
    bool strong = false;
};

struct Page {
    PageOptions options;
    std::string commit, newest; // newest: the date of the newest result; empty: none says one
    Study study;
    const Scale* scale = nullptr;
    std::string reading; // joint; may be empty
    Results own, recorded;
    ControlsOfRows controls_of_rows;        // made once for all lines
    bool by_record = false;                 // the results are the recorded ones
    std::vector<Line> lines, under, others; // as they are; under the reading; other readings

    int runs = 0;
    double seconds = 0;
    std::vector<Piece> lede;
    std::vector<Covered> coverage;
    std::vector<ClaimStrips> claims;
    std::vector<Many> many;
    std::vector<std::pair<std::string, std::string>> readings; // joint ones that ran, in words
    std::vector<Panel> panels;                                 // Figure 2
    std::vector<std::string> no_panel;
    std::vector<Section> sections;
    std::vector<FoldGroup> folds;
    std::vector<ControlsOf> controls;
    std::vector<std::string> untested; // rows
    std::optional<Forecasts> forecasts;
    std::vector<std::string> differences; // from the record, of one's own results
    int compared = 0;
    std::vector<std::pair<std::string, std::string>> words; // glossary
};

// Lines point into it, so it stays where it is.
std::unique_ptr<Page> gather(const PageOptions&, std::vector<std::string>& notes);
std::string mechanism_name(const Row&, const std::string& quantity); // "flow:2 · segment-mean, MQAR"
std::string value_text(const Line&);                                 // "99.8", as tables have it; "none": no transition
std::string paper_text(const std::string& paper);                    // "≤2.5"
std::string minus(std::string);                                      // a true minus for '-'
std::string tail_text(const Line&);                    // "±0.4", half of the 95% interval; "¹" of one seed
std::string says(const Line&);                         // all of it in words
std::string verdict_words(const Judged&, const Page&); // "holds at 1e-3 only"
enum class Cover { full, one_seed, one_rate, sample, not_run, needs };
Cover cover_of(const Covered&);
const char* cover_text(Cover, const Scale&);
size_t rows_run(const Page&);               // of its coverage, those with a run
std::string reading_words(const Settings&); // "the row before the key asks; decoys carry the same key"

std::string html_text(const Page&);
std::string markdown_text(const Page&);

} // namespace fci
