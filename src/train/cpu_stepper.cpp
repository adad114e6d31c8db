#include "train/cpu_stepper.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/signals.h"

namespace fci {
namespace {

constexpr int tokens_per_tape = 512; // few enough that an op's operands stay in cache, enough for efficient products

int sequences_per_tape(int length) { return std::max(1, tokens_per_tape / length); }

} // namespace

CpuStepper::CpuStepper(const Options& o, const Dataset& train, const std::vector<ParameterInfo>& infos,
                       Numbers& numbers, Workers& workers)
    : options_(o), train_(train), infos_(infos), numbers_(numbers), workers_(workers) {
    const auto size = static_cast<int64_t>(numbers.parameters.size());
    const int groups = std::min(most_groups, o.train.batch);
    grads_.assign(size * groups, 0.f);
    const auto bind = [&](float* grad) {
        ParameterBinder binder(numbers.parameters.data(), grad);
        return std::make_unique<Model>(binder, o.model, train.vocab, train.length);
    };
    forward_model_ = bind(nullptr);
    for (int g = 0; g < groups; ++g) {
        grad_blocks_.push_back(grads_.data() + g * size);
        groups_.push_back({grad_blocks_.back(), bind(grad_blocks_.back()), {}});
    }
    if (forward_model_->budget()) {
        const BudgetLearnShape shape{o.train.batch, train.queries, o.model.d_model};
        observed_.emplace(budget_memory_, shape);
        budget_losses_.resize(int64_t{shape.batch} * shape.rows);
    }
    for (int w = 0; w < workers.count(); ++w) workspaces_.push_back(std::make_unique<Workspace>());
    partial_.resize(slices(size));
}

void CpuStepper::train_on(const Batch& b, int first, float routing_weight, Group& group, Tape& tape) {
    const Model::Output out = (*group.model)(tape, b.tokens, b.query, b.features);
    Counts counts = count(out, b, options_.model.top_k);
    const Losses l = losses(tape, out, b, query_weight(options_.train.batch, train_.queries), routing_weight);
    for (int64_t i = 0; l.answer && i < l.answer.size(); ++i) counts.answer_loss += l.answer.data[i];
    for (int round = 0; round < l.rounds; ++round)
        for (int64_t i = 0; i < l.routing[round].size(); ++i)
            counts.routing_loss += l.routing[round].data[i] / l.rounds;
    if (observed_) {
        const Tensor last = l.routing[l.rounds - 1];
        observed_->set(first, out.mixed.features, out.mixed.taking_part);
        std::copy_n(last.data, last.size(), budget_losses_.begin() + int64_t{first} * train_.queries);
    }
    group.counts.add(counts);
}

// A group's sequences, a tape full at a time.
void CpuStepper::run_group(const Phase& phase, int64_t step, int g, Workspace& space) {
    Group& group = groups_[g];
    const int batch = options_.train.batch, groups = static_cast<int>(groups_.size());
    const int begin = g * batch / groups, end = (g + 1) * batch / groups, per_tape = sequences_per_tape(train_.length);
    const int first = static_cast<int>(step % (train_.count / batch)) * batch; // of the batch in the order
    std::memset(group.grad, 0, numbers_.parameters.size() * sizeof(float));
    group.counts = {};
    for (int at = begin; at < end; at += per_tape) {
        space.tape.reset();
        const Batch b = gather_batch(space.arena, train_, group.model->place_length(), first + at,
                                     std::min(per_tape, end - at), phase.order.data());
        if (phase.objective == Objective::training)
            train_on(b, at, static_cast<float>(phase.routing_weight), group, space.tape);
        else
            contrastive_loss(space.tape, *group.model, b, query_weight(batch, train_.queries));
        space.tape.backward();
    }
}

// Adds up the groups' gradients, clips and steps. Frozen parameters count neither in the norm nor in the step.
double CpuStepper::update(const Phase& phase, int64_t step) {
    std::vector<float>& parameters = numbers_.parameters;
    kept_.clear();
    for (const auto& [offset, size] : phase.frozen) {
        for (const Group& g : groups_) std::memset(g.grad + offset, 0, size * sizeof(float));
        kept_.insert(kept_.end(), parameters.begin() + offset, parameters.begin() + offset + size);
    }
    const double norm = sum_and_norm(grad_blocks_, static_cast<int64_t>(parameters.size()), partial_, workers_);
    if (!std::isfinite(norm)) return norm;
    const OneCycle::Point at = OneCycle{options_.train.learning_rate, phase.cycle}.at(step);
    numbers_.optimiser.step(step + 1, at, clip_factor(norm, options_.train.clip), grad_blocks_[0], parameters.data(),
                            workers_);
    const float* kept = kept_.data();
    for (const auto& [offset, size] : phase.frozen) {
        std::copy(kept, kept + size, parameters.data() + offset);
        kept += size;
    }
    return norm;
}

std::span<const Stepper::Shown> CpuStepper::run(const Phase& phase, int64_t first, int64_t) {
    workers_.run(static_cast<int>(groups_.size()),
                 [&](int g, int worker) { run_group(phase, first, g, *workspaces_[worker]); });
    // Workers that had no group allocate now: from the second step on there is no allocation.
    for (const auto& space : workspaces_) workspaces_[0]->arena.grow_like(space->arena);
    for (const auto& space : workspaces_) space->arena.grow_like(workspaces_[0]->arena);
    shown_ = {{}, NAN};
    for (const Group& g : groups_) shown_.counts.add(g.counts);
    if (!std::isfinite(shown_.counts.answer_loss + shown_.counts.routing_loss)) return {&shown_, 1};
    shown_.grad_norm = update(phase, first);
    if (std::isfinite(shown_.grad_norm) && observed_ && phase.objective == Objective::training)
        forward_model_->budget()->learn(*observed_, budget_losses_.data());
    return {&shown_, 1};
}

// Repeats the step and checks every number: slow, but it names the op.
std::string CpuStepper::first_not_finite(const Phase& phase, int64_t step) {
    Workspace& space = *workspaces_[0];
    space.tape.set_checked(true);
    std::string found;
    try {
        for (size_t g = 0; g < groups_.size(); ++g) {
            run_group(phase, step, static_cast<int>(g), space);
            for (const ParameterInfo& p : infos_) // activations are looked at on the tape, parameters here
                if (!Tape::finite(groups_[g].grad + p.offset, p.shape.size()))
                    fail(Exit::non_finite, "the gradient of {} has a NaN or Inf", p.name);
        }
    } catch (const Error& e) {
        found = e.what();
    }
    space.tape.set_checked(false);
    return found;
}

std::string CpuStepper::not_finite(const Phase& phase, int64_t step) {
    const std::string op = first_not_finite(phase, step);
    return op.empty() ? "the sum of the groups' gradients: it overflowed" : op;
}

Counts CpuStepper::evaluate(const Dataset& d, bool closely) {
    const int per_tape = sequences_per_tape(d.length);
    evaluation_.assign((d.count + per_tape - 1) / per_tape, {});
    workers_.run(static_cast<int>(evaluation_.size()), [&](int i, int worker) {
        if (stop_asked()) fail(Exit::interrupted, "stopped during an evaluation");
        Workspace& space = *workspaces_[worker];
        const int begin = i * per_tape, n = std::min(per_tape, d.count - begin);
        space.forward_only.reset();
        const Batch b = gather_batch(space.arena, d, model().place_length(), begin, n);
        const Model::Output out = model()(space.forward_only, b.tokens, b.query, b.features);
        for (const Tensor& t : {out.scores, out.logits})
            if (!Tape::finite(t.data, t.size()))
                fail(Exit::non_finite, "test sequences from {}: the model's output has a NaN or Inf", begin);
        evaluation_[i] = count(out, b, options_.model.top_k, closely);
    });
    Counts sum;
    for (const Counts& c : evaluation_) sum.add(c);
    return sum;
}

Model::Output CpuStepper::forward(const Dataset& d, int sequence, int worker) {
    Workspace& space = *workspaces_[worker];
    space.forward_only.reset();
    const Batch b = gather_batch(space.arena, d, model().place_length(), sequence, 1);
    return model()(space.forward_only, b.tokens, b.query, b.features);
}

Tensor CpuStepper::represent(const Dataset& d, int sequence, int worker) {
    Workspace& space = *workspaces_[worker];
    space.forward_only.reset();
    const Batch b = gather_batch(space.arena, d, model().place_length(), sequence, 1);
    return model().represent(space.forward_only, b.tokens, b.features).reshape({d.length, options_.model.d_model});
}

} // namespace fci
