// HotpotQA as sequences for routers that learn: the layout by hand, the parts that the cut removes, generated and read
// data, chance by enumeration, and a router that learns them.
#include <algorithm>
#include <bit>

#include "core/files.h"
#include "core/words.h"
#include "tasks/hotpot_text.h"
#include "tasks/npy.h"
#include "tests/catch.h"
#include "tests/hotpot.h"
#include "tests/scratch.h"
#include "train/trainer.h"

using namespace fci;

namespace {

TaskOptions text_options(int length, int vocab = 8192) {
    TaskOptions o;
    o.task = "hotpotqa", o.length = length, o.vocab = vocab;
    return resolve(o);
}

HotpotExample by_hand() {
    return std::move(parsed(R"([{"_id":"x","question":"In which Town?","answer":"a","type":"bridge","level":"easy",
        "supporting_facts":[["B",0],["A",1],["B",2]],
        "context":[["A",["The river."," The town? The"]],["B",["in\u00a0The",""," É the"]]]}])")
                         .examples[0]);
}

Dataset made_text(const TaskOptions& o, int count, int threads = 2, uint64_t seed = 1) {
    Workers workers(threads);
    return generate(o, count, seed, Stream::train_data, workers);
}

bool equal(const Dataset& a, const Dataset& b) {
    return a.count == b.count && a.tokens == b.tokens && a.query == b.query && a.answer == b.answer &&
           a.correct.begin == b.correct.begin && a.correct.at == b.correct.at && a.starts.begin == b.starts.begin &&
           a.starts.at == b.starts.at && a.left_out == b.left_out && a.correct_cut == b.correct_cut;
}

Options tiny_text(int length = 64) {
    Options o;
    o.task.task = "hotpotqa", o.task.length = length, o.task.vocab = 512;
    o.model.d_model = 32, o.model.heads = 2;
    o.train.sequences = 16, o.train.test_sequences = 10, o.train.batch = 16, o.train.epochs = 2;
    o.run.threads = 1;
    return o;
}

std::string refused(const std::function<void(Options&)>& change) {
    Options o = tiny_text();
    change(o);
    return error_of([&] { resolve(o); });
}

} // namespace

TEST_CASE("hotpot text: the layout by hand; words have the same tokens on every machine", "[hotpot][tasks]") {
    const HotpotExample x = by_hand();
    const int32_t in = 1394, which = 5890, town = 1406, the = 2156, river = 33, e = 879;
    const HotpotSequence s = hotpot_sequence(x, text_options(20));
    CHECK(s.tokens ==
          std::vector<int32_t>{in, which, town, text_separator, the, river, the, town, the, in, the, e, the, 0, 0, 0, 0,
                               0,  0,     0});
    CHECK(s.query == 3);
    CHECK(s.starts == std::vector<int32_t>{4, 6, 9, 11});
    CHECK(s.sentence == std::vector<int32_t>{0, 1, 2, 4}); // sentence 3 has no words
    CHECK(s.correct == std::vector<int32_t>{6, 9, 11});
    CHECK(s.correct_cut == 0);
    CHECK(hotpot_sequence(x, text_options(20, 100)).tokens[3] == text_separator);
    CHECK(hotpot_sequence(x, text_options(20, 100)).tokens[5] == 19); // "river."
}

TEST_CASE("hotpot text: what the cut takes away is counted", "[hotpot][tasks]") {
    const HotpotExample x = by_hand();
    const HotpotSequence whole = hotpot_sequence(x, text_options(20));
    for (int length = 1; length <= 20; ++length) {
        INFO(length);
        const HotpotSequence s = hotpot_sequence(x, text_options(length));
        REQUIRE(s.tokens.size() == static_cast<size_t>(length));
        CHECK(std::equal(s.tokens.begin(), s.tokens.end(), whole.tokens.begin()));
        std::vector<int32_t> left;
        for (const int32_t p : whole.correct)
            if (p < length) left.push_back(p);
        CHECK(s.correct == left);
        CHECK(s.correct_cut == static_cast<int>(whole.correct.size() - left.size()));
        CHECK(s.usable() == (length > 6));
    }
    Workers one(1);
    const std::vector<HotpotExample> examples = made(60);
    const TaskOptions o = text_options(100);
    const Dataset d = hotpot_dataset(examples, o, "test", one);
    int64_t correct = 0;
    for (const HotpotExample& e : examples) {
        const HotpotSequence s = hotpot_sequence(e, o);
        if (s.usable()) correct += static_cast<int64_t>(e.supporting.size());
    }
    CHECK(d.left_out > 0);
    CHECK(d.count + d.left_out == 60);
    CHECK(static_cast<int64_t>(d.correct.at.size()) + d.correct_cut == correct);
    expect_error(error_of([&] { hotpot_dataset(examples, text_options(3), "test", one); }), Exit::bad_data,
                 "test: none of its 60 examples has a supporting sentence that starts before --length 3");
    expect_error(error_of([&] { made_text(text_options(3), 4); }), Exit::usage, "--length 3: of ");
}

TEST_CASE("hotpot text: every right position starts a supporting sentence, and only those", "[hotpot][tasks]") {
    const TaskOptions o = text_options(600);
    WordReader reader(Tokeniser::whitespace);
    const auto words = [&](std::string_view text) {
        int n = 0;
        for (reader.read(text); reader.next();) ++n;
        return n;
    };
    for (const HotpotExample& x : made(40, 3)) {
        const HotpotSequence s = hotpot_sequence(x, o);
        int at = words(x.question);
        CHECK(s.query == at++);
        CHECK(s.tokens[s.query] == text_separator);
        CHECK(std::count(s.tokens.begin(), s.tokens.end(), text_separator) == 1);
        std::vector<int32_t> starts, correct;
        for (uint32_t i = 0; i < x.sentences.size(); ++i) {
            if (at < o.length) {
                starts.push_back(at);
                if (std::binary_search(x.supporting.begin(), x.supporting.end(), i)) correct.push_back(at);
            }
            at += words(x.sentences[i]);
        }
        CHECK(s.starts == starts);
        CHECK(s.correct == correct);
        CHECK(std::count(s.tokens.begin(), s.tokens.end(), text_pad) == std::max(0, o.length - at));
    }
}

TEST_CASE("hotpot text: generated data are the same for any number of threads, and as their file",
          "[hotpot][threads]") {
    const TaskOptions o = text_options(120, 500);
    const Dataset d = made_text(o, 300);
    CHECK(d.count == 300);
    CHECK(d.left_out > 0);
    CHECK(d.label.empty());
    CHECK(equal(d, made_text(o, 300, 1)));
    CHECK(equal(d, made_text(o, 300, 4)));
    CHECK_FALSE(equal(d, made_text(o, 300, 2, 2)));
    for (size_t i = 0; i < 300; ++i) CHECK(d.answer[i] == d.correct[i][0]);

    const Scratch scratch; // the examples it used, written to a file and read
    Workers workers(2);
    save_hotpot(scratch / "a.json", made(300 + static_cast<int>(d.left_out)));
    CHECK(equal(d, load_text(scratch / "a.json", o, workers)));
    const Dataset start = made_text(o, 100); // fewer sequences are the first of more
    CHECK(std::equal(start.tokens.begin(), start.tokens.end(), d.tokens.begin()));
    expect_error(error_of([&] { save_dataset(scratch / "folder", d, o, 1); }), Exit::internal, "several");
    TaskOptions mqar; // a folder that names another task is refused
    mqar = resolve(mqar);
    save_dataset(scratch / "folder", generate(mqar, 2, 1, Stream::train_data, workers), mqar, 1);
    std::string json = read_file(scratch / "folder/dataset.json");
    json.replace(json.find("\"mqar\""), 6, "\"hotpotqa\"");
    write_file_atomically(scratch / "folder/dataset.json", json);
    expect_error(error_of([&] { load_dataset(scratch / "folder"); }), Exit::bad_data,
                 "its task is hotpotqa, which is kept as a file of examples");
}

TEST_CASE("hotpot text: chance is what enumeration gives", "[hotpot][trainer]") {
    Dataset d; // 3 queries of 12 positions
    d.count = 3, d.length = 12, d.vocab = 8, d.tokens.resize(36), d.query = {0, 1, 2};
    d.correct = {{0, 2, 3, 6}, {3, 7, 5, 2, 4, 9}}, d.starts = {{0, 5, 9, 12}, {1, 3, 5, 7, 9, 3, 5, 8, 10, 2, 4, 9}};
    d.answer = {3, 5, 2};
    const TaskOptions o = text_options(12);
    for (const int place_length : {1, 3})
        for (const int k : {1, 2, 3, 4}) {
            INFO("k " << k << " places of " << place_length);
            double some = 0, all = 0, anywhere = 0;
            for (int q = 0; q < 3; ++q) {
                unsigned starts = 0, correct = 0;
                for (const int p : d.starts[q]) starts |= 1u << p / place_length;
                for (const int p : d.correct[q]) correct |= 1u << p / place_length;
                double ways = 0, hits = 0, whole = 0, all_ways = 0, all_hits = 0;
                for (unsigned chosen = 0; chosen < 1u << 12 / place_length; ++chosen) {
                    if (std::popcount(chosen) == k) ++all_ways, all_hits += (chosen & correct) != 0;
                    if (std::popcount(chosen) != std::min(k, std::popcount(starts)) || (chosen & ~starts)) continue;
                    ++ways, hits += (chosen & correct) != 0, whole += (chosen & correct) == correct;
                }
                some += hits / ways / 3, all += whole / ways / 3, anywhere += all_hits / all_ways / 3;
            }
            const Chance c = fit_chance(o, d, d, k, place_length);
            CHECK(c.drawn_starts == Approx(100 * some));
            CHECK(c.drawn_positions == Approx(100 * anywhere));
            CHECK(c.at_k >= c.drawn_starts - 1e-9); // the maximum of several
            CHECK(c.all >= 100 * all - 1e-9);
            CHECK(c.accuracy == 0);
        }

    // Fitted rules. Sentence number 1 is correct in all three; no position, counted from the start or from the query,
    // in more than one.
    d.correct = {{0, 1, 2, 3}, {3, 5, 4}}, d.answer = {3, 5, 4}, d.query = {0, 1, 3};
    CHECK(fit_chance(o, d, d, 1).at_k == 100);
    CHECK(fit_chance(o, d, d, 1).all == 100);
    // Otherwise drawing a random sentence start is better: the best rule counts.
    Dataset other = d;
    other.correct.at = {9, 10, 9}, other.answer = other.correct.at;
    const Chance c = fit_chance(o, d, other, 1);
    CHECK(c.at_k == Approx(100 * (1 / 5. + 1 / 4. + 1 / 3.) / 3));
    CHECK(c.at_k == c.at_1);
}

TEST_CASE("hotpot text: a router learns a small batch by heart, and the answer loss plays no part",
          "[hotpot][trainer]") {
    for (const char* router : {"investigator", "segment-mean"}) {
        INFO(router);
        Options o = tiny_text();
        o.model.router = router, o.model.top_k = 2;
        o.train.epochs = 150, o.train.learning_rate = 1e-2;
        resolve(o);
        TrainerData data = make_data(o);
        data.test = data.train;
        Trainer trainer(std::move(data));
        Step s{};
        while (trainer.steps_done() < trainer.steps_total()) {
            s = trainer.step();
            REQUIRE(s.answer_loss == 0);
            REQUIRE(s.loss == s.routing_loss); // weight 1 to the end
        }
        const Counts c = trainer.evaluate();
        CHECK(c.queries == 16);
        CHECK(c.at_k == 16);
        CHECK(c.at_1 == 16);
        CHECK(c.all <= c.at_k);
        CHECK(c.correct == 0);
        CHECK(s.routing_loss < 0.05);
    }
}

TEST_CASE("hotpot text: all right positions are asked for, not one of them", "[hotpot][trainer]") {
    Options o = tiny_text(160);
    resolve(o);
    TrainerData data = make_data(o);
    const Dataset test = data.test;
    Trainer trainer(std::move(data));
    const Counts c = trainer.evaluate();
    int64_t some = 0, first = 0, all = 0, longest = 0;
    for (int i = 0; i < test.count; ++i) {
        const Trainer::Look look = trainer.look(test, i);
        REQUIRE(look.chosen.size() == 4);
        const auto is_chosen = [&](int32_t p) {
            return std::find(look.chosen.begin(), look.chosen.end(), p) != look.chosen.end();
        };
        const auto correct = test.correct[i];
        some += std::any_of(correct.begin(), correct.end(), is_chosen),
            all += std::all_of(correct.begin(), correct.end(), is_chosen);
        first += std::find(correct.begin(), correct.end(), look.chosen[0]) != correct.end();
        longest = std::max<int64_t>(longest, static_cast<int64_t>(correct.size()));
    }
    CHECK(longest > 1);
    CHECK(c.at_k == some);
    CHECK(c.at_1 == first);
    CHECK(c.all == all);
}

TEST_CASE("hotpot text: training and test sets from files", "[hotpot][trainer]") {
    const Scratch scratch;
    save_hotpot(scratch / "a.json", made(30));
    save_hotpot(scratch / "b.json", made(12, 2));
    Options generated = tiny_text(900), both = generated, split = generated, test = generated;
    both.train.data = scratch / "a.json", both.train.test_data = scratch / "b.json";
    split.train.data = scratch / "a.json", split.train.test_sequences = 1000;
    test.train.test_data = scratch / "b.json";
    for (Options* o : {&generated, &both, &split, &test}) resolve(*o);
    const TrainerData of_both = make_data(both), of_split = make_data(split), of_test = make_data(test),
                      of_none = make_data(generated);
    CHECK(of_both.train.count == 30);
    CHECK(of_both.test.count == 12);
    CHECK(of_both.options.train.sequences == 30);
    CHECK(of_split.train.count == 24);
    CHECK(of_split.test.count == 6);
    CHECK(of_test.train.count == 16);
    CHECK(equal(of_test.train, of_none.train));
    CHECK(equal(of_test.test, of_both.test));
    // Held out: the end of the file.
    for (int i = 0; i < 6; ++i) {
        const auto a = of_split.test.correct[i], b = of_both.train.correct[24 + i];
        CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
        const auto c = of_split.test.starts[i], d = of_both.train.starts[24 + i];
        CHECK(std::equal(c.begin(), c.end(), d.begin(), d.end()));
    }
    CHECK(of_split.train.correct.begin.size() == 25);
    CHECK(hash_of(of_split.train, of_split.test) != hash_of(of_both.train, of_both.test));
    Dataset moved = of_both.train;
    moved.correct.at.back() += 1; // the correct positions are part of the hash
    CHECK(hash_of(moved, of_both.test) != hash_of(of_both.train, of_both.test));

    Options few = both;
    few.train.batch = 31;
    expect_error(error_of([&] { make_data(few); }), Exit::usage, "--batch 31 is more than the 30 training sequences");
    Options folder = both;
    folder.train.data = scratch.path;
    expect_error(error_of([&] { make_data(folder); }), Exit::bad_data, "it is not a file but a folder");
    folder.task = TaskOptions();
    folder.train.data = scratch / "a.json";
    expect_error(error_of([&] { make_data(folder); }), Exit::bad_data, "a HotpotQA file needs --task hotpotqa");
}

TEST_CASE("hotpot text: what cannot be is refused", "[hotpot][tasks]") {
    for (const char* router : {"none", "bloom", "random", "blind", "linucb", "thompson", "oful"}) {
        INFO(router);
        expect_error(refused([&](Options& o) { o.model.router = router; }), Exit::usage,
                     std::string("--router ") + router + ": hotpotqa has several right positions");
    }
    const auto belongs = [](const char* flag, const char* owner) {
        return std::string(flag) + " belongs to --task " + owner + ", and would do nothing here";
    };
    expect_error(refused([](Options& o) { o.task.pairs = 8; }), Exit::usage, belongs("--pairs 8", "mqar"));
    expect_error(refused([](Options& o) { o.task.query_row = "marker"; }), Exit::usage,
                 belongs("--query-row marker", "der and mqar"));
    expect_error(refused([](Options& o) { o.task.vocab = 2; }), Exit::usage, "--vocab 2 leaves no token for a word");
    const TaskOptions own = text_options(0, 0);
    CHECK(own.length == 1024);
    CHECK(own.vocab == 8192);
}
