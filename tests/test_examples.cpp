// The examples learn. tests/examples/one_file.cpp has the same algorithm as the engine: the same losses, step by step.
#define EXAMPLE_WITHOUT_MAIN
#include "tests/examples/mlp.cpp"
#include "tests/examples/one_file.cpp"

#include "tests/catch.h"
#include "train/trainer.h"

using namespace fci;

TEST_CASE("one file: the whole algorithm has the losses of the engine", "[examples]") {
    one_file::Setting s;
    s.length = 32, s.pairs = 4, s.vocab = 64, s.d = 16, s.heads = 2, s.sequences = 48, s.batch = 4, s.epochs = 2,
    s.k = 4;
    Options o;
    o.task.task = "mqar", o.task.length = s.length, o.task.pairs = s.pairs, o.task.vocab = s.vocab;
    o.model.representation = "transformer:1", o.model.d_model = s.d, o.model.heads = s.heads, o.model.top_k = s.k;
    o.train.sequences = s.sequences, o.train.test_sequences = 10, o.train.batch = s.batch, o.train.epochs = s.epochs;
    o.train.learning_rate = s.learning_rate, o.train.weight_decay = s.weight_decay, o.train.clip = s.clip;
    o.run.threads = 1, o.run.device = "cpu";
    resolve(o);
    Trainer trainer(make_data(o));
    one_file::Parameters p(s);
    one_file::train(p, s, [&](int step, double loss) { // into the second epoch
        const double engine = trainer.step().loss;
        INFO("step " << step << ": " << loss << ", the engine's " << engine);
        CHECK(std::abs(loss - engine) <= 1e-5 * engine);
        return step < 20;
    });
}

TEST_CASE("mlp: the engine learns where a ring is", "[examples]") { CHECK(train_mlp(1000) < 0.15); }
