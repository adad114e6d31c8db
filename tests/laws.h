// Shared by the tests of tasks: data, and a check that counts follow a law.
#pragma once
#include <cmath>

#include "tasks/dataset.h"
#include "tests/catch.h"

namespace fci::test {

inline Dataset make(const TaskOptions& o, int count, std::vector<Annotation>* notes = nullptr, int workers = 2,
                    uint64_t seed = 7) {
    Workers w(workers);
    return generate(o, count, seed, Stream::train_data, w, notes);
}

inline TaskOptions der() {
    TaskOptions o;
    o.task = "der";
    return o;
}
inline TaskOptions mqar(const std::string& queries) {
    TaskOptions o;
    o.queries = queries;
    return o;
}

// Pearson's statistic of counts against probabilities must stay below the point that a chi-squared variable of
// cells - 1 degrees of freedom exceeds as rarely as a normal one exceeds 5 sigma, 3e-7 [Wilson & Hilferty 1931]. Cells
// are merged, in order, until each expects at least 8.
inline void expect_law(const std::vector<double>& counts, const std::vector<double>& probabilities) {
    double total = 0, mass = 0, x2 = 0;
    for (const double c : counts) total += c;
    for (const double p : probabilities) mass += p;
    REQUIRE(mass == Approx(1));
    std::vector<std::pair<double, double>> cells; // count, expected
    double c = 0, e = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
        if (probabilities[i] == 0) REQUIRE(counts[i] == 0);
        c += counts[i], e += total * probabilities[i];
        if (e < 8) continue;
        cells.push_back({c, e});
        c = e = 0;
    }
    REQUIRE(cells.size() > 1);
    cells.back().first += c, cells.back().second += e;
    for (const auto& [seen, expected] : cells) x2 += (seen - expected) * (seen - expected) / expected;
    const double dof = static_cast<double>(cells.size()) - 1, v = 2 / (9 * dof);
    INFO("chi squared " << x2 << " with " << dof << " degrees of freedom");
    CHECK(x2 < dof * std::pow(1 - v + 5 * std::sqrt(v), 3));
}
inline void expect_uniform(const std::vector<double>& counts) {
    expect_law(counts, std::vector<double>(counts.size(), 1.0 / static_cast<double>(counts.size())));
}

} // namespace fci::test
