// Verdicts: the paper's notation, intervals, and both sides of every rule.
#include <cmath>
#include <limits>

#include "study/verdict.h"
#include "tests/catch.h"

using namespace fci;

TEST_CASE("verdicts: the paper's notation", "[study]") {
    const double infinity = std::numeric_limits<double>::infinity();
    const struct {
        std::string text;
        double low, high;
        bool exact;
    } good[] = {{"98.4", 98.4, 98.4, true},       {"~98.4", 98.4, 98.4, true},    {"-0.154", -0.154, -0.154, true},
                {"<=2.5", -infinity, 2.5, false}, {">130", 130, infinity, false}, {"9-29", 9, 29, false},
                {"0.6-11", 0.6, 11, false}};
    for (const auto& [text, low, high, exact] : good) {
        INFO(text);
        const auto v = parse_paper(text);
        REQUIRE(v);
        CHECK((v->low == low && v->high == high && v->exact == exact));
    }
    for (const char* text : {"", "~", "a", "1-", "2-1", "1-2-3", "<=", "<=a", "98.4%", "98 ", "nan", "inf", ">1-2"}) {
        INFO(text);
        CHECK_FALSE(parse_paper(text));
    }
}

TEST_CASE("verdicts: mean, standard deviation and interval over seeds", "[study]") {
    const Summary three = summarise({90, 92, 94}, 1000);
    CHECK(three.seeds == 3);
    CHECK(three.mean == Approx(92));
    CHECK(three.sd == Approx(2));
    const double p = 922.0 / 1004, sampling = 196 * 196 * p * (1 - p) / 1000;
    CHECK(three.half_width == Approx(std::sqrt(4.303 * 4.303 * 4 / 3 + sampling)));
    CHECK(three.half_90 == Approx(std::sqrt(2.920 * 2.920 * 4 / 3 + sampling * 1.645 * 1.645 / (1.96 * 1.96))));
    const Summary one = summarise({100}, 1000);
    CHECK(one.sd == 0);
    CHECK(one.half_width == Approx(196 * std::sqrt(1002.0 / 1004 * (2.0 / 1004) / 1000)));
    CHECK(summarise({5, 7}, 0).half_width == Approx(12.706 * std::sqrt(2) / std::sqrt(2)));
    CHECK(summarise({5, 7}, 0).half_90 == Approx(6.314));
    CHECK(summarise(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 0).half_90 ==
          Approx(1.796 * std::sqrt(13. / 12)).epsilon(0.01));
    CHECK(summarise({}, 1000).seeds == 0);
    CHECK(summarise(std::vector<double>(20, 3.0), 0).half_width == Approx(0).margin(1e-9));
}

TEST_CASE("verdicts: each of their rules on both sides", "[study]") {
    // half: half the width of the 90% interval; the 95% interval is a fifth wider
    const auto of = [](double mean, double half, std::optional<double> chance = {}, std::optional<double> papers = {}) {
        Summary o;
        o.seeds = 3, o.mean = mean, o.half_90 = half, o.half_width = 1.2 * half;
        o.chance = chance, o.paper_chance = papers;
        return o;
    };
    const struct {
        std::string quantity, paper;
        Summary ours;
        Verdict verdict;
    } cases[] = {
        {"routing", "99.1", of(97.1, 0), Verdict::reproduced}, // within 2 points, exactly
        {"routing", "90", of(91, 1), Verdict::reproduced},     // the whole 90% interval, exactly
        {"routing", "90", of(91, 1.1), Verdict::inconclusive}, // not the whole interval
        {"routing", "90", of(90, 3), Verdict::inconclusive},   // the paper's number, but too wide an interval
        {"routing", "90", of(93.1, 1), Verdict::inconclusive}, // the 95% interval reaches into the band
        {"routing", "90", of(93.3, 1), Verdict::differs},      // no longer
        {"routing", "90", of(86.7, 1), Verdict::differs},
        {"routing", "90", of(87.9, 0), Verdict::differs},
        {"accuracy", "~50", of(55, 0), Verdict::reproduced}, // within 5
        {"accuracy", "50", of(54, 1.1), Verdict::inconclusive},
        {"accuracy", "50", of(56, 0.8), Verdict::differs},
        {"routing", "99.9", of(96, 0.1), Verdict::differs}, // both high, but not equal
        // Summary at our chance, and the paper's number at its chance, however far apart the two are.
        {"routing", "1.2", of(7, 0.5, 6.75, 1.6), Verdict::at_chance},
        {"routing", "1.2", of(9, 0.7, 6.75, 1.6), Verdict::at_chance},    // up to 3 points, interval included
        {"routing", "1.2", of(9, 0.8, 6.75, 1.6), Verdict::differs},      // beyond 3 points
        {"routing", "4.6", of(7, 0.5, 6.75, 1.6), Verdict::at_chance},    // the paper's value too
        {"routing", "4.7", of(7, 0.5, 6.75, 1.6), Verdict::inconclusive}, // beyond 3 points
        {"routing", "25.6", of(25.2, 0.3, 25, 25), Verdict::at_chance},   // comes before reproduced
        {"routing", "25.6", of(25.2, 0.3, 25), Verdict::reproduced},      // the paper's chance is not known
        {"routing", "25.6", of(25.2, 0.3, {}, 25), Verdict::reproduced},
        {"accuracy", "7.6", of(4.4, 0.2, 7, 6.25), Verdict::at_chance},
        {"accuracy", "1.8", of(12, 0.2, 20, 1.6), Verdict::differs}, // below chance is not at chance
        {"routing", "<=2.5", of(1, 0.2, 1.7, 1.6), Verdict::at_chance},
        {"routing", "22-27", of(24, 0.2, 25, 25), Verdict::at_chance},
        {"routing", "21-27", of(24, 0.2, 25, 25), Verdict::reproduced},     // one end is too far from chance
        {"transition_epoch", "25", of(25, 0, 25, 25), Verdict::reproduced}, // not a percentage: no chance
        // A bound or a range has no margin.
        {"routing", "<=2.5", of(2, 0.5, 6.9), Verdict::reproduced},
        {"routing", "<=2.5", of(2, 0.6, 6.9), Verdict::inconclusive},
        {"routing", "<=2.5", of(3.0, 0.5, 6.9), Verdict::inconclusive},
        {"routing", "<=2.5", of(3.2, 0.5, 6.9), Verdict::differs},
        {"routing", "9-29", of(10, 1), Verdict::reproduced},
        {"routing", "9-29", of(29.1, 0), Verdict::differs},
        {"rank", "1.6", of(2.0, 0), Verdict::reproduced}, // 25%
        {"rank", "1.6", of(2.01, 0), Verdict::differs},
        {"rank", "1.6", of(2.01, 9), Verdict::inconclusive},
        {"rank", ">130", of(131, 0), Verdict::reproduced},
        {"rank", ">130", of(129, 0), Verdict::differs},
        {"energy90_dims", "34", of(42, 0), Verdict::reproduced},
        {"energy90_dims", "34", of(43, 0), Verdict::differs},
        {"cosine_gap", "-0.154", of(-0.104, 0), Verdict::reproduced}, // 0.05
        {"cosine_gap", "-0.154", of(-0.1, 0), Verdict::differs},
        {"transition_epoch", "5", of(7, 0), Verdict::reproduced}, // 2 epochs
        {"transition_epoch", "5", of(8, 0.5), Verdict::differs},
        {"transition_epoch", "5", of(8, 1), Verdict::inconclusive},
        {"routing", "99", {}, Verdict::not_run},
    };
    for (const auto& [quantity, paper, ours, verdict] : cases) {
        INFO(quantity << " " << paper << ", ours " << ours.mean << " +-" << ours.half_90);
        CHECK(std::string(name(judge(quantity, *parse_paper(paper), ours))) == name(verdict));
    }

    const PaperValue high = *parse_paper("99");
    const auto verdict = [&](const Summary& o) { return verdict_text(judge("routing", high, o), o); };
    SECTION("fewer than 3 seeds are provisional") {
        Summary o = of(99, 0.5);
        CHECK(verdict(o) == "reproduced");
        o.seeds = 2;
        CHECK(verdict(o) == "provisional: reproduced");
        o.mean = 50;
        CHECK(verdict(o) == "provisional: differs");
        o.tested = false;
        CHECK(verdict(o) == "untested");
        CHECK(verdict({}) == "not run");
    }
    SECTION("no transition in any seed, or in some") {
        Summary o = of(0, 0);
        o.seeds = 0, o.without = 3, o.converged = 0;
        CHECK(judge("transition_epoch", *parse_paper("5"), o) == Verdict::differs);
        o = of(5, 0);
        o.seeds = 2, o.without = 1, o.converged = 2;
        CHECK(judge("transition_epoch", *parse_paper("5"), o) == Verdict::some_seeds);
    }
    SECTION("where some seeds converge, five are wanted") {
        Summary o = of(60, 40);
        for (const int converged : {0, 3}) { // none and all of three: the ordinary rules
            o.converged = converged;
            CHECK(verdict(o) == "inconclusive");
        }
        o.converged = 1;
        CHECK(verdict(o) == "provisional: some seeds");
        o.seeds = 5;
        CHECK(verdict(o) == "some seeds");
        o.tie = true; // a tie has priority
        CHECK(verdict(o) == "tie");
    }
    SECTION("a score made by ties alone, and controls that fail, come before what the score is") {
        Summary o = of(99, 0.5, 98, 98);
        o.tie = true;
        CHECK(verdict(o) == "tie");
        o.tested = false;
        CHECK(verdict(o) == "untested");
        CHECK(by_ties_alone(0, 100)); // all positions have one score
        CHECK(by_ties_alone(0, 79));  // six equal candidates, if they come first
        CHECK(by_ties_alone(1, 49));
        CHECK_FALSE(by_ties_alone(1.1, 49));
        CHECK(by_ties_alone(0, 2)); // less than routing's margin changes no verdict
        CHECK_FALSE(by_ties_alone(0, 1.9));
        CHECK_FALSE(by_ties_alone(0, 0));
        CHECK_FALSE(by_ties_alone(90, 10));
    }
}

TEST_CASE("verdicts: Wilson's interval of a share", "[study]") {
    const struct {
        int n, of;
        double low, high;
    } known[] = {{0, 5, 0, 43.4}, {2, 5, 11.8, 76.9}, {5, 5, 56.6, 100}, {1, 3, 6.1, 79.2}, {50, 100, 40.4, 59.6}};
    for (const auto& [n, of, low, high] : known) {
        INFO(n << " of " << of);
        const auto [l, h] = wilson(n, of);
        CHECK(l == Approx(low).margin(0.05));
        CHECK(h == Approx(high).margin(0.05));
    }
}
