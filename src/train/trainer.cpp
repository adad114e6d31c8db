#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/gemm.h"
#include "core/signals.h"
#include "train/gpu_stepper.h"

namespace fci {

Trainer::Trainer(TrainerData data)
    : options_(std::move(data.options)), train_(std::move(data.train)), test_(std::move(data.test)),
      absent_(std::move(data.absent)), workers_(options_.run.threads) {
    use_one_blas_thread();
    attach_features(test_, options_, workers_);
    check_model(options_.model, train_.vocab, train_.length);
    if (router_kind(options_.model.router).type != RouterKind::in_model)
        fail(Exit::internal, "the router {} has nothing that a Trainer could train", options_.model.router);
    data_hash_ = absent_ ? absent_->hash : hash_of(train_, test_);
    steps_per_epoch_ =
        (absent_ ? options_.train.sequences : train_.count) / options_.train.batch; // a partial last batch is dropped

    ParameterBinder layout;
    Model measure(layout, options_.model, train_.vocab, train_.length);
    infos_ = layout.infos();
    numbers_.parameters.assign(layout.block_size(), 0.f);
    numbers_.optimiser = new_optimiser();
    initialise(infos_, options_.train.seed, numbers_.parameters.data());
    cpu_ = std::make_unique<CpuStepper>(options_, train_, infos_, numbers_, workers_);
    if (options_.run.device == "cuda") gpu_ = std::make_unique<GpuStepper>(options_, train_, numbers_, *cpu_, workers_);
    stepper_ = gpu_ ? gpu_.get() : cpu_.get();
    const auto exact =
        generates(options_) ? law_chance(options_.task, options_.model.top_k, place_length()) : std::nullopt;
    chance_ = exact ? exact : fitted_chance(options_.task);
    frozen_ = freeze([&](const ParameterInfo& p) {
        return options_.train.contrastive == "frozen" && p.name.starts_with("router.w");
    });
    order_.resize(train_.count);
}

AdamW Trainer::new_optimiser() const {
    AdamW adamw(static_cast<int64_t>(numbers_.parameters.size()));
    adamw.weight_decay = options_.train.weight_decay;
    return adamw;
}

int64_t Trainer::parameter_count() const {
    int64_t sum = 0;
    for (const ParameterInfo& p : infos_) sum += p.learned ? p.shape.size() : 0;
    return sum;
}

Tensor Trainer::parameter(const std::string& name) {
    for (const ParameterInfo& p : infos_)
        if (p.name == name) return {edit().parameters.data() + p.offset, nullptr, p.shape};
    fail(Exit::internal, "this model has no parameter {}", name);
}

void Trainer::set_test_set(Dataset test, const TaskOptions& task, const std::string& name) {
    check(test.correct.empty() == train_.correct.empty(), "{}: the data are of another task than the model", name);
    if (test.length != train_.length || test.queries != train_.queries || test.vocab > train_.vocab)
        fail(Exit::bad_data, "{}: length {}, {} queries and a vocabulary of {}; the model is made for {}, {} and {}",
             name, test.length, test.queries, test.vocab, train_.length, train_.queries, train_.vocab);
    attach_features(test, options_, workers_);
    test_ = std::move(test);
    stepper_->forget_test_set();
    chance_ = fitted_chance(task);
}

std::optional<Chance> Trainer::fitted_chance(const TaskOptions& task) const {
    if (absent_) return std::nullopt;
    return fit_chance(task, train_, test_, options_.model.top_k, place_length());
}

double Trainer::routing_weight(int epoch) const {
    if (train_.label.empty()) return 1; // it is the whole loss
    return options_.train.epochs > 1
               ? 1 - 0.9 * std::min(epoch, options_.train.epochs - 1) / (options_.train.epochs - 1)
               : 1;
}

// A permutation of the training set for each epoch [Fisher & Yates; Durstenfeld 1964].
void Trainer::shuffle(int epoch, Stream stream) {
    if (epoch == order_epoch_ && stream == order_stream_) return;
    Rng rng(options_.train.seed, stream, epoch);
    std::iota(order_.begin(), order_.end(), 0);
    for (int i = train_.count - 1; i > 0; --i) std::swap(order_[i], order_[rng.below(i + 1)]);
    order_epoch_ = epoch;
    order_stream_ = stream;
}

template <class Keep>
Stepper::Ranges Trainer::freeze(Keep keep) const {
    Stepper::Ranges ranges;
    for (const ParameterInfo& p : infos_)
        if (!p.learned || keep(p)) ranges.emplace_back(p.offset, p.shape.size());
    return ranges;
}

// Contrastive pretraining: InfoNCE on the unmixed embeddings  [van den Oord et al. 2018; Basu 2026, Sec. 4.4]
//   loss = CE(cos(Wq h_q, Wk h_j) / 0.07 over all j, a);   the optimiser and its schedule as in training, started
//   afresh.
void Trainer::pretrain() {
    constexpr int epochs = 10;
    const bool embeddings = options_.train.contrastive_target == "embeddings";
    const Stepper::Ranges others = freeze([&](const ParameterInfo& p) {
        return !(p.name.starts_with("router.w") ||
                 (embeddings && (p.name == "token.weight" || p.name == "position.weight")));
    });
    edit().optimiser = new_optimiser();
    const int64_t steps = epochs * steps_per_epoch_;
    for (int64_t step = 0; step < steps;) {
        if (stop_asked())
            fail(Exit::interrupted,
                 "stopped during contrastive pretraining; the run will start it again from the beginning");
        const int64_t epoch = step / steps_per_epoch_;
        shuffle(static_cast<int>(epoch), Stream::contrastive);
        const Stepper::Phase phase{Stepper::Objective::contrastive, steps, steps, others, order_, 1};
        for (const Stepper::Shown& shown : stepper_->run(phase, step, (epoch + 1) * steps_per_epoch_ - step)) {
            ++step;
            if (!std::isfinite(shown.counts.routing_loss + shown.grad_norm))
                fail(Exit::non_finite, "contrastive pretraining, step {}: the gradient has a NaN or Inf", step);
        }
    }
    edit().optimiser = new_optimiser();
}

std::span<const Step> Trainer::advance(int64_t until) {
    check(steps_done_ < until && until <= steps_total(), "trainer: step {} of {}, with {} done", until, steps_total(),
          steps_done_);
    attach_features(train_, options_, workers_); // not before: who only measures needs none of them
    if (steps_done_ == 0 && options_.train.contrastive != "none") pretrain();
    const int64_t first = steps_done_, epoch = first / steps_per_epoch_;
    shuffle(static_cast<int>(epoch));
    const Stepper::Phase phase{
        Stepper::Objective::training,           steps_total(), steps_of_schedule(), frozen_, order_,
        routing_weight(static_cast<int>(epoch))};
    made_.clear();
    for (const Stepper::Shown& shown :
         stepper_->run(phase, first, std::min(until, (epoch + 1) * steps_per_epoch_) - first)) {
        const Step s = describe(steps_done_ + 1, shown);
        if (std::isfinite(s.loss) && std::isfinite(s.grad_norm)) {
            made_.push_back(s);
            ++steps_done_;
        } else if (made_.empty()) // else the next call finds it again
            fail(Exit::non_finite,
                 "step {}: {}; nothing was updated. A lower --learning-rate or --clip (0 clips nothing) may help",
                 s.number, stepper_->not_finite(phase, steps_done_));
    }
    return made_;
}

Step Trainer::describe(int64_t number, const Stepper::Shown& shown) const {
    Step s{};
    s.number = number, s.epoch = static_cast<int>((number - 1) / steps_per_epoch_), s.counts = shown.counts;
    s.answer_loss = s.counts.answer_loss / static_cast<double>(s.counts.queries);
    s.routing_loss = s.counts.routing_loss / static_cast<double>(s.counts.queries);
    s.loss = s.answer_loss + routing_weight(s.epoch) * s.routing_loss;
    s.grad_norm = shown.grad_norm;
    s.learning_rate = OneCycle{options_.train.learning_rate, steps_of_schedule()}.at(number - 1).rate;
    return s;
}

std::optional<Counts> Trainer::final_test() {
    std::optional<Dataset> d = final_test_set(options_, workers_);
    if (!d) return std::nullopt;
    attach_features(*d, options_, workers_);
    const Counts c = stepper_->evaluate(*d, true);
    stepper_->forget_test_set(); // *d goes
    return c;
}

Trainer::Look Trainer::look(const Dataset& d, int sequence, int worker) {
    stepper_->numbers();
    const Model::Output out = cpu_->forward(d, sequence, worker);
    Look look;
    const int k = options_.model.top_k;
    for (int r = 0; r < d.queries && out.chosen.data; ++r)
        look.chosen.insert(look.chosen.end(), out.chosen.data + r * 2 * k, out.chosen.data + r * 2 * k + k);
    look.place_length = place_length();
    if (out.scores) look.scores.assign(out.scores.data, out.scores.data + out.scores.size());
    look.logits.assign(out.logits.data, out.logits.data + out.logits.size());
    return look;
}

Tensor Trainer::represent(const Dataset& d, int sequence, int worker) {
    check(stepper_->on_host(), "represent: the GPU has the parameters; parameters() fetches them");
    return cpu_->represent(d, sequence, worker);
}

} // namespace fci
