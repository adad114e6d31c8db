#include "study/controls.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "routing/router.h"
#include "train/data.h"

namespace fci {
namespace {

// P(Bin(n, p) < k)
double binomial_below(int n, double p, int k) {
    if (p == 0 || k > n) return 1;
    double term = std::pow(1 - p, n), sum = 0;
    for (int i = 0; i < k; ++i) {
        sum += term;
        term *= (n - i) / (i + 1.0) * p / (1 - p);
    }
    return sum;
}

// In percent; nothing if there is no closed form.
std::optional<double> oracle_ceiling(const TaskOptions& o, const Choice& c, const AnswerLaw& law) {
    const std::optional<double> p = task_of(o).filler_like_the_key(o);
    if (!p) return std::nullopt;
    if (*p == 0) return 100;
    if (c.place_length > 1) return std::nullopt;
    double sum = 0;
    for (const std::vector<int>& answers : law.answers)
        for (size_t r = 0; r < answers.size(); ++r)
            sum += binomial_below(static_cast<int>(r), *p, c.k) / static_cast<double>(answers.size());
    return 100 * sum / static_cast<double>(law.answers.size());
}

bool by_law(const Options& o) { return generates(o) && task_of(o.task).law; }

// The k places that hold the most of these positions (ascending); ties to the lower.
std::vector<int> likeliest(std::span<const int> positions, int place_length, int k) {
    std::vector<std::pair<int, int>> places; // (-positions, place)
    for (const int a : positions) {
        if (places.empty() || places.back().second != a / place_length) places.emplace_back(0, a / place_length);
        --places.back().first;
    }
    std::sort(places.begin(), places.end());
    std::vector<int> best;
    for (int i = 0; i < k && i < static_cast<int>(places.size()); ++i) best.push_back(places[i].second);
    return best;
}

// The options that an exact chance depends on.
std::string law_key(const TaskOptions& resolved, const Choice& c) {
    Options key;
    key.task = resolved;
    return fmt::format("{}{} {} {}", write_toml(key), c.k, c.place_length, c.within);
}

Control compare(int64_t hits, int64_t queries, double expected) {
    const double n = static_cast<double>(queries), p = std::min(1.0, expected / 100);
    const double off = std::abs(static_cast<double>(hits) - n * p), rounding = 1e-6;
    return {100 * static_cast<double>(hits) / n, expected, off <= 4 * std::sqrt(n * p * (1 - p)) + rounding};
}

} // namespace

Choice choice_of(const Options& o) {
    const int width = o.task.length / segment_count;
    if (router_kind(o.model.router).type == RouterKind::bandit) return {1, width, true};
    return {o.model.top_k, router_kind(o.model.router).place_length(o.task.length), false};
}

std::optional<Chance> exact_chance(const TaskOptions& o, const Choice& c) {
    return c.within ? law_chance_within(o, c.place_length) : law_chance(o, c.k, c.place_length);
}

Controls run_controls(const TaskOptions& o, const Choice& c, const Dataset& d) {
    Controls controls;
    const std::optional<AnswerLaw> law = answer_law(o);
    if (!law) return controls;
    controls.chance = exact_chance(o, c);
    // A place is what the router chooses: a position or a segment; for a bandit an arm, which is a position.
    const int place_length = c.within ? 1 : c.place_length;
    std::map<int, size_t> at; // index in the law of the key's row
    std::vector<std::vector<int>> guesses;
    for (size_t i = 0; i < law->rows.size(); ++i) {
        at[law->rows[i]] = i;
        if (!c.within) guesses.push_back(likeliest(law->answers[i], place_length, c.k));
    }
    const auto of_task = task_of(o).may_be_the_answer;
    const auto may_be = [&](int key, int token) { return of_task ? of_task(o, key, token) : token == key; };
    int64_t seen = 0, guessed = 0;
    for (size_t i = 0; i < d.answer.size(); ++i) {
        const int32_t* tokens = d.tokens.data() + static_cast<int64_t>(i / d.queries) * d.length;
        const int row = d.query[i] + (o.query_row == "marker"), answer = d.answer[i], place = answer / place_length;
        const auto found = at.find(row);
        if (found == at.end()) continue; // a row that the law does not have: both controls miss
        std::span<const int> answers = law->answers[found->second];
        if (c.within) { // only places in the answer's segment
            const int from = place / c.place_length * c.place_length;
            const auto begin = std::lower_bound(answers.begin(), answers.end(), from);
            answers = {begin, std::lower_bound(begin, answers.end(), from + c.place_length)};
        }
        int last = -1, looked_at = 0; // the k lowest places with the key
        for (const int a : answers) {
            if (a / place_length == last || !may_be(tokens[row], tokens[a])) continue;
            last = a / place_length;
            seen += last == place;
            if (++looked_at == c.k) break;
        }
        const auto hit = [&](const std::vector<int>& places) {
            return std::count(places.begin(), places.end(), place);
        };
        guessed += hit(c.within ? likeliest(answers, place_length, c.k) : guesses[found->second]);
    }
    const auto queries = static_cast<int64_t>(d.answer.size());
    if (const auto ceiling = oracle_ceiling(o, c, *law)) controls.oracle = compare(seen, queries, *ceiling);
    controls.blind = compare(guessed, queries, controls.chance->at_k);
    return controls;
}

const Controls& ControlsOfRows::of(const Options& asked, bool final) {
    static const Controls none;
    Options o = asked;
    if (!by_law(o)) return none;
    o.task = resolve(o.task);
    const Choice c = choice_of(o);
    const auto [known, is_new] =
        known_.try_emplace(fmt::format("{} {} {}", law_key(o.task, c), o.train.test_sequences, final));
    if (is_new) {
        Workers workers(Workers::available());
        known->second = run_controls(o.task, c,
                                     final ? *final_test_set(o, workers)
                                           : generate(o.task, o.train.test_sequences, 0, Stream::test_data, workers));
    }
    return known->second;
}

const std::optional<Chance>& ControlsOfRows::chance(const Options& asked) {
    static const std::optional<Chance> none;
    if (!by_law(asked)) return none;
    Options o = asked;
    o.task = resolve(o.task);
    const Choice c = choice_of(o);
    const auto [known, is_new] = chances_.try_emplace(law_key(o.task, c));
    if (is_new) known->second = exact_chance(o.task, c);
    return known->second;
}

bool ControlsOfRows::on_its_data(const Result& r) {
    Options o;
    o.task = r.options.task, o.train = r.options.train, o.run.threads = Workers::available();
    if (!by_law(o)) return true;
    Options key; // the options they depend on
    key.task = o.task, key.train.seed = o.train.seed;
    key.train.sequences = o.train.sequences, key.train.test_sequences = o.train.test_sequences;
    const auto [known, is_new] = hashes_.try_emplace(write_toml(key));
    if (is_new) {
        const TrainerData d = make_data(o);
        known->second = fmt::format("\"data_hash\":\"{:016x}\"", hash_of(d.train, d.test));
    }
    return r.provenance.find(known->second) != std::string::npos;
}

std::optional<double> paper_chance(const Options& o, const std::string& quantity) {
    const bool routing = quantity == "routing";
    if ((!routing && quantity != "accuracy") || !task_of(o.task).paper_chance) return std::nullopt;
    const Choice c = choice_of(o);
    if (routing && c.within) return 100.0 / 32;
    if (routing && router_kind(o.model.router).by_segment) return 100.0 * c.k / segment_count;
    return task_of(o.task).paper_chance(o.task, routing ? c.k : 1);
}

} // namespace fci
