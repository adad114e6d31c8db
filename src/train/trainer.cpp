#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/gemm.h"
#include "core/signals.h"

namespace fci {
namespace {

constexpr int gradient_groups = 8;   // at most; more than that many threads do not help a step
constexpr int tokens_per_tape = 512; // few enough that an op's operands stay in cache, enough for efficient products

// Of a query; the rest of what gather_sequences takes from the arena does not depend on the data either.
int most_right(const Dataset& d) {
    int most = 1;
    for (size_t i = 1; i < d.right.begin.size(); ++i) most = std::max(most, d.right.begin[i] - d.right.begin[i - 1]);
    return most;
}

int sequences_per_tape(int length) { return std::max(1, tokens_per_tape / length); }

} // namespace

Trainer::Trainer(TrainerData data)
    : options_(std::move(data.options)), train_(std::move(data.train)), test_(std::move(data.test)),
      workers_(options_.run.threads) {
    use_one_blas_thread();
    check_model(options_.model, train_.vocab, train_.length);
    if (router_kind(options_.model.router).type != RouterKind::in_model)
        fail(Exit::internal, "the router {} has nothing that a Trainer could train", options_.model.router);
    data_hash_ = hash_of(train_, test_);
    steps_per_epoch_ = train_.count / options_.train.batch; // a partial last batch is dropped

    ParameterBinder layout;
    Model measure(layout, options_.model, train_.vocab, train_.length);
    infos_ = layout.infos();
    const int64_t size = layout.block_size();
    const int groups = std::min(gradient_groups, options_.train.batch);
    data_.assign(size, 0.f);
    grads_.assign(size * groups, 0.f);
    initialise(infos_, options_.train.seed, data_.data());
    adamw_ = AdamW(size);
    adamw_.weight_decay = options_.train.weight_decay;
    const auto bind = [&](float* grad) {
        ParameterBinder binder(data_.data(), grad);
        return std::make_unique<Model>(binder, options_.model, train_.vocab, train_.length);
    };
    forward_model_ = bind(nullptr);
    const auto exact =
        generates(options_) ? law_chance(options_.task, options_.model.top_k, place_length()) : std::nullopt;
    chance_ = exact ? *exact : fitted_chance(options_.task);
    for (int g = 0; g < groups; ++g) {
        grad_blocks_.push_back(grads_.data() + g * size);
        groups_.push_back({grad_blocks_.back(), bind(grad_blocks_.back()), {}});
    }
    frozen_ = freeze([&](const ParameterInfo& p) {
        return options_.train.contrastive == "frozen" && p.name.starts_with("router.w");
    });
    if (forward_model_->budget()) {
        const BudgetLesson lesson{options_.train.batch, train_.queries, options_.model.d_model};
        experience_.emplace(budget_memory_, lesson);
        budget_losses_.resize(int64_t{lesson.batch} * lesson.rows);
    }
    for (int w = 0; w < workers_.count(); ++w) lanes_.push_back(std::make_unique<Lane>());
    if (options_.run.device == "cuda") gpu_ = std::make_unique<GpuTrainer>(options_, train_, size);
    partial_.resize(slices(size));
    order_.resize(train_.count);
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

void Trainer::fetch() {
    if (newest_ == Side::gpu) gpu_->get(data_, adamw_), newest_ = Side::both;
}

GpuTrainer& Trainer::on_gpu() {
    if (newest_ == Side::host) gpu_->put(data_, adamw_), newest_ = Side::both;
    return *gpu_;
}

void Trainer::set_test_set(Dataset test, const TaskOptions& task, const std::string& name) {
    check(test.right.empty() == train_.right.empty(), "{}: not of the task that the model is for", name);
    if (test.length != train_.length || test.queries != train_.queries || test.vocab > train_.vocab)
        fail(Exit::bad_data, "{}: length {}, {} queries and a vocabulary of {}; the model is made for {}, {} and {}",
             name, test.length, test.queries, test.vocab, train_.length, train_.queries, train_.vocab);
    test_ = std::move(test);
    if (gpu_) gpu_->forget_test_set();
    chance_ = fitted_chance(task);
}

Chance Trainer::fitted_chance(const TaskOptions& task) const {
    return fit_chance(task, train_, test_, options_.model.top_k, place_length());
}

double Trainer::routing_weight(int epoch) const {
    if (train_.label.empty()) return 1; // it is the whole loss
    return options_.train.epochs > 1 ? 1 - 0.9 * epoch / (options_.train.epochs - 1) : 1;
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

template <class F>
Batch Trainer::gather_sequences(Arena& arena, const Dataset& d, int n, F index_of) const {
    const auto rows = [&](const std::vector<int32_t>& from, int width) {
        int32_t* to = arena.array<int32_t>(int64_t{n} * width);
        for (int i = 0; i < n; ++i)
            std::memcpy(to + int64_t{i} * width, from.data() + int64_t{index_of(i)} * width, width * sizeof(int32_t));
        return IntTensor{to, {n, width}};
    };
    Batch b{rows(d.tokens, d.length), rows(d.query, d.queries), {}, {}, {}};
    if (!d.label.empty()) b.label = rows(d.label, d.queries);
    const int width = place_length(), queries = n * d.queries;
    int32_t* place = arena.array<int32_t>(int64_t{queries} * most_right(d)); // as much in every step
    if (d.right.empty()) {
        const IntTensor answer = rows(d.answer, d.queries);
        for (int64_t i = 0; i < queries; ++i) place[i] = answer.data[i] / width;
        b.place = {place, answer.shape};
        return b;
    }
    int32_t *bounds = arena.array<int32_t>(queries + 1), *to = place;
    for (int i = 0; i < queries; ++i) {
        bounds[i] = static_cast<int32_t>(to - place);
        for (const int32_t p : d.right[int64_t{index_of(i / d.queries)} * d.queries + i % d.queries])
            if (to == place + bounds[i] || to[-1] != p / width) *to++ = p / width; // each once
    }
    bounds[queries] = static_cast<int32_t>(to - place);
    b.place = {place, {bounds[queries]}}, b.bounds = {bounds, {queries + 1}};
    return b;
}

// Calls f(sequences, the first one's place in the batch) for a group's sequences, a tape full at a time.
template <class F>
void Trainer::each_tape(int g, Lane& lane, int64_t step_of_epoch, F f) {
    const int batch = options_.train.batch, groups = static_cast<int>(groups_.size());
    const int begin = g * batch / groups, end = (g + 1) * batch / groups, per_tape = sequences_per_tape(train_.length);
    std::memset(groups_[g].grad, 0, data_.size() * sizeof(float));
    for (int at = begin; at < end; at += per_tape) {
        const int n = std::min(per_tape, end - at);
        lane.tape.reset();
        const int64_t first = step_of_epoch * batch + at;
        f(gather_sequences(lane.arena, train_, n, [&](int i) { return order_[first + i]; }), at);
        lane.tape.backward();
    }
}

void Trainer::run_group(int g, Lane& lane) {
    Group& group = groups_[g];
    const float weight = query_weight(options_.train.batch, train_.queries);
    const auto w = static_cast<float>(routing_weight(static_cast<int>(steps_done_ / steps_per_epoch_)));
    group.counts = {};
    each_tape(g, lane, steps_done_ % steps_per_epoch_, [&](const Batch& b, int first) {
        const Model::Output out = (*group.model)(lane.tape, b.tokens, b.query);
        Counts counts = count(out, b, options_.model.top_k);
        const Losses l = losses(lane.tape, out, b, weight, w);
        for (int64_t i = 0; l.answer && i < l.answer.size(); ++i) counts.answer_loss += l.answer.data[i];
        for (int round = 0; round < l.rounds; ++round)
            for (int64_t i = 0; i < l.routing[round].size(); ++i)
                counts.routing_loss += l.routing[round].data[i] / l.rounds;
        if (experience_) {
            const Tensor last = l.routing[l.rounds - 1];
            experience_->set(first, out.mixed.features, out.mixed.taking_part);
            std::copy_n(last.data, last.size(), budget_losses_.begin() + int64_t{first} * train_.queries);
        }
        group.counts.add(counts);
    });
}

template <class Keep>
Trainer::Frozen Trainer::freeze(Keep keep) const {
    Frozen f;
    int64_t size = 0;
    for (const ParameterInfo& p : infos_)
        if (!p.learned || keep(p)) {
            f.ranges.emplace_back(p.offset, p.shape.size());
            size += p.shape.size();
        }
    f.kept.resize(size);
    return f;
}

// Adds up the groups' gradients, clips and steps. What is frozen counts neither in the norm nor in the step.
double Trainer::update(AdamW& adamw, int64_t step, OneCycle::Point at, Frozen& frozen) {
    float* kept = frozen.kept.data();
    for (const auto& [offset, size] : frozen.ranges) {
        for (const Group& g : groups_) std::memset(g.grad + offset, 0, size * sizeof(float));
        kept = std::copy(data_.data() + offset, data_.data() + offset + size, kept);
    }
    const double norm = sum_and_norm(grad_blocks_, static_cast<int64_t>(data_.size()), partial_, workers_);
    if (!std::isfinite(norm)) return norm;
    adamw.step(step, at, clip_factor(norm, options_.train.clip), grad_blocks_[0], data_.data(), workers_);
    kept = frozen.kept.data();
    for (const auto& [offset, size] : frozen.ranges) {
        std::copy(kept, kept + size, data_.data() + offset);
        kept += size;
    }
    return norm;
}

// Contrastive pretraining: InfoNCE on the unmixed embeddings  [van den Oord et al. 2018; Basu 2026, Sec. 4.4]
//   loss = CE(cos(Wq h_q, Wk h_j) / 0.07 over all j, a);   the optimiser and its schedule as in training, anew.
void Trainer::pretrain() {
    constexpr int epochs = 10;
    const bool embeddings = options_.train.contrastive_target == "embeddings";
    Frozen others = freeze([&](const ParameterInfo& p) {
        return !(p.name.starts_with("router.w") ||
                 (embeddings && (p.name == "token.weight" || p.name == "position.weight")));
    });
    AdamW adamw(static_cast<int64_t>(data_.size()));
    adamw.weight_decay = options_.train.weight_decay;
    const int64_t steps = epochs * steps_per_epoch_;
    const float weight = query_weight(options_.train.batch, train_.queries);
    const auto expect_finite = [](int64_t step, double norm) {
        if (!std::isfinite(norm))
            fail(Exit::non_finite, "contrastive pretraining, step {}: the gradient has a NaN or Inf", step + 1);
    };
    if (gpu_) fetch(), gpu_->put(data_, adamw), newest_ = Side::host; // whatever becomes of this
    for (int64_t step = 0; step < steps;) {
        if (stop_asked())
            fail(Exit::interrupted, "stopped amid contrastive pretraining, which starts over with the run");
        shuffle(static_cast<int>(step / steps_per_epoch_), Stream::contrastive);
        if (gpu_) {
            const GpuTrainer::Phase phase{GpuTrainer::Objective::contrastive, steps, others.ranges, &order_, 1, &adamw};
            const int64_t left = steps_per_epoch_ - step % steps_per_epoch_;
            const auto logs = gpu_->run(phase, step, static_cast<int>(std::min<int64_t>(left, GpuTrainer::most_steps)));
            for (const GpuLog& log : logs) expect_finite(step++, log.routing_loss + log.grad_norm);
            continue;
        }
        workers_.run(static_cast<int>(groups_.size()), [&](int g, int worker) {
            Lane& lane = *lanes_[worker];
            each_tape(g, lane, step % steps_per_epoch_,
                      [&](const Batch& b, int) { contrastive_loss(lane.tape, *groups_[g].model, b, weight); });
        });
        const OneCycle::Point at = OneCycle{options_.train.learning_rate, steps}.at(step);
        expect_finite(step, update(adamw, step + 1, at, others));
        ++step;
    }
    if (gpu_) gpu_->get(data_, adamw); // training begins with other moments
}

std::span<const Step> Trainer::advance(int64_t until) {
    check(steps_done_ < until && until <= steps_total(), "trainer: step {} of {}, with {} done", until, steps_total(),
          steps_done_);
    if (steps_done_ == 0 && options_.train.contrastive != "none") pretrain();
    shuffle(static_cast<int>(steps_done_ / steps_per_epoch_));
    if (gpu_) return steps_on_gpu(until);
    made_.assign(1, step_on_cpu());
    return made_;
}

Step Trainer::describe(int64_t number, const Counts& counts) const {
    Step s{};
    s.number = number, s.epoch = static_cast<int>((number - 1) / steps_per_epoch_), s.counts = counts;
    s.answer_loss = counts.answer_loss / static_cast<double>(counts.queries);
    s.routing_loss = counts.routing_loss / static_cast<double>(counts.queries);
    s.loss = s.answer_loss + routing_weight(s.epoch) * s.routing_loss;
    s.learning_rate = schedule().at(number - 1).rate;
    return s;
}

Step Trainer::step_on_cpu() {
    workers_.run(static_cast<int>(groups_.size()), [&](int g, int worker) { run_group(g, *lanes_[worker]); });
    // A worker without a group so far takes its memory now: from the second step on there is no allocation.
    for (const auto& lane : lanes_) lanes_[0]->arena.grow_like(lane->arena);
    for (const auto& lane : lanes_) lane->arena.grow_like(lanes_[0]->arena);
    Counts counts;
    for (const Group& g : groups_) counts.add(g.counts);
    Step s = describe(steps_done_ + 1, counts);
    if (!std::isfinite(s.loss)) diagnose();
    s.grad_norm = update(adamw_, s.number, schedule().at(steps_done_), frozen_);
    if (!std::isfinite(s.grad_norm)) diagnose();
    if (experience_) forward_model_->budget()->learn(*experience_, budget_losses_.data());
    ++steps_done_;
    return s;
}

std::span<const Step> Trainer::steps_on_gpu(int64_t until) {
    const int64_t epoch = steps_done_ / steps_per_epoch_;
    const int64_t end = std::min({until, (epoch + 1) * steps_per_epoch_, steps_done_ + GpuTrainer::most_steps});
    const double w = routing_weight(static_cast<int>(epoch));
    const GpuTrainer::Phase phase{GpuTrainer::Objective::training, steps_total(), frozen_.ranges, &order_, w, &adamw_};
    const auto logs = on_gpu().run(phase, steps_done_, static_cast<int>(end - steps_done_));
    newest_ = Side::gpu;
    if (experience_) fetch(), forward_model_->budget()->expect_finite();
    made_.clear();
    for (const GpuLog& log : logs) {
        const int64_t queries = int64_t{options_.train.batch} * train_.queries;
        Counts counts{queries, log.at_k, log.at_1, log.right, log.all, log.answer_loss, log.routing_loss};
        Step s = describe(steps_done_ + 1, counts);
        s.grad_norm = log.grad_norm;
        if (!std::isfinite(s.loss) || !std::isfinite(s.grad_norm)) {
            if (made_.empty()) diagnose(); // else the next call finds it again
            break;
        }
        made_.push_back(s);
        ++steps_done_;
    }
    return made_;
}

// The step again, with every number looked at: slow, but it names the op.
void Trainer::diagnose() {
    fetch();
    Lane& lane = *lanes_[0];
    lane.tape.set_checked(true);
    std::string op = gpu_ ? "a number that is finite on the CPU" : "the sum of the groups' gradients: it overflowed";
    try {
        for (size_t g = 0; g < groups_.size(); ++g) {
            run_group(static_cast<int>(g), lane);
            for (const ParameterInfo& p : infos_) // activations are looked at on the tape, parameters here
                if (!Tape::finite(groups_[g].grad + p.offset, p.shape.size()))
                    fail(Exit::non_finite, "the gradient of {} has a NaN or Inf", p.name);
        }
    } catch (const Error& e) {
        op = e.what();
    }
    lane.tape.set_checked(false);
    fail(Exit::non_finite,
         "step {}: {}; nothing was updated. A lower --learning-rate or --clip (0 clips nothing) may help",
         steps_done_ + 1, op);
}

Counts Trainer::evaluate(const Dataset& d, bool closely) {
    const int k = options_.model.top_k;
    Counts sum;
    if (gpu_ && !closely) return on_gpu().evaluate(d);
    if (gpu_) { // outputs come back to the host, batch by batch
        Arena arena;
        on_gpu().evaluate(d, [&](int first, int n, const Model::Output& out) {
            arena.reset();
            sum.add(count(out, gather_sequences(arena, d, n, [&](int i) { return first + i; }), k, closely));
        });
        return sum;
    }
    const int per_tape = sequences_per_tape(d.length);
    evaluation_.assign((d.count + per_tape - 1) / per_tape, {});
    workers_.run(static_cast<int>(evaluation_.size()), [&](int i, int worker) {
        if (stop_asked()) fail(Exit::interrupted, "stopped amid an evaluation");
        Lane& lane = *lanes_[worker];
        const int begin = i * per_tape, n = std::min(per_tape, d.count - begin);
        lane.forward_only.reset();
        const Batch b = gather_sequences(lane.arena, d, n, [&](int j) { return begin + j; });
        const Model::Output out = (*forward_model_)(lane.forward_only, b.tokens, b.query);
        for (const Tensor& t : {out.scores, out.logits})
            if (!Tape::finite(t.data, t.size()))
                fail(Exit::non_finite, "test sequences from {}: what the model makes of them has a NaN or Inf", begin);
        evaluation_[i] = count(out, b, k, closely);
    });
    for (const Counts& c : evaluation_) sum.add(c);
    return sum;
}

std::optional<Counts> Trainer::final_test() {
    const std::optional<Dataset> d = final_test_set(options_, workers_);
    if (!d) return std::nullopt;
    const Counts c = evaluate(*d, true);
    if (gpu_) gpu_->forget_test_set(); // *d goes
    return c;
}

Trainer::Look Trainer::look(const Dataset& d, int sequence) {
    fetch();
    Lane& lane = *lanes_[0];
    lane.forward_only.reset();
    const Batch b = gather_sequences(lane.arena, d, 1, [&](int) { return sequence; });
    const Model::Output out = (*forward_model_)(lane.forward_only, b.tokens, b.query);
    Look look;
    const int k = options_.model.top_k;
    for (int r = 0; r < d.queries && out.picked.data; ++r)
        look.picked.insert(look.picked.end(), out.picked.data + r * 2 * k, out.picked.data + r * 2 * k + k);
    look.place_length = place_length();
    if (out.scores) look.scores.assign(out.scores.data, out.scores.data + out.scores.size());
    return look;
}

Tensor Trainer::represent(const Dataset& d, int sequence, int worker) {
    check(newest_ != Side::gpu, "represent: the GPU has the parameters; parameters() fetches them");
    Lane& lane = *lanes_[worker];
    lane.forward_only.reset();
    const Batch b = gather_sequences(lane.arena, d, 1, [&](int) { return sequence; });
    return forward_model_->represent(lane.forward_only, b.tokens).reshape({d.length, options_.model.d_model});
}

} // namespace fci
