#include "train/gpu_stepper.h"

#include <algorithm>

namespace fci {
namespace {

static_assert(most_rounds == Losses::most_rounds); // gpu.h is for nvcc too, which does not see the model

// The CPU's ops check every index; for the GPU indices are checked once, before they are uploaded.
void expect_below(const std::vector<int32_t>& v, const char* what, int limit) {
    for (size_t i = 0; i < v.size(); ++i)
        if (v[i] < 0 || v[i] >= limit)
            fail(Exit::bad_data, "{} {} at {} of the data is outside 0 to {}", what, v[i], i, limit - 1);
}

// n sequences as the model takes them.
Batch batch_of(const GpuBatch& from, int n, const GpuSequences& of) {
    const int q = of.queries;
    Batch b{{from.tokens, {n, of.length}}, {from.query, {n, q}}, {}, {from.place, {n, q}}, {}};
    if (of.label) b.label = {from.label, {n, q}};
    if (from.features) b.features = {from.features, nullptr, {n, of.length, of.width}};
    if (of.begin) b.place.shape = {n * q * of.length}, b.bounds = {from.bounds, {n * q + 1}}; // as many as there may be
    return b;
}

} // namespace

template <class T>
T* GpuStepper::upload(const std::vector<T>& v, Arena& arena) {
    if (v.empty()) return nullptr;
    T* p = arena.array<T>(v.size());
    copy_in(Device::cuda, p, v.data(), v.size() * sizeof(T));
    return p;
}

GpuSequences GpuStepper::upload(const Dataset& d, Arena& arena) {
    expect_below(d.tokens, "token", d.vocab);
    expect_below(d.query, "query row", d.length);
    expect_below(d.answer, "answer position", d.length);
    expect_below(d.label, "label", d.vocab);
    GpuSequences s{};
    s.tokens = upload(d.tokens, arena), s.query = upload(d.query, arena), s.label = upload(d.label, arena);
    if (d.correct.empty()) {
        s.answer = upload(d.answer, arena);
    } else {
        expect_below(d.correct.at, "right position", d.length);
        for (size_t i = 1; i < d.correct.begin.size(); ++i)
            if (d.correct.begin[i] <= d.correct.begin[i - 1])
                fail(Exit::bad_data, "query {} of the data has no right position", i - 1);
        s.begin = upload(d.correct.begin, arena), s.correct = upload(d.correct.at, arena);
    }
    s.count = d.count, s.length = d.length, s.queries = d.queries, s.place_length = place_length_;
    s.width = options_.model.feature_width;
    return s;
}

GpuStepper::GpuStepper(const Options& o, const Dataset& train, Numbers& numbers, CpuStepper& on_host, Workers& workers)
    : options_(o), train_set_(train), numbers_(numbers), on_host_(on_host), workers_(workers),
      size_(static_cast<int64_t>(numbers.parameters.size())), per_epoch_(train.count / o.train.batch) {
    gradients_.keep_zeroed();
    parameters_ = memory_.floats(size_), grad_ = memory_.floats(size_);
    m_ = memory_.floats(size_), v_ = memory_.floats(size_);
    set_zero(Device::cuda, grad_, size_ * sizeof(float));
    ParameterBinder with_gradients(parameters_, grad_), without(parameters_, nullptr);
    model_ = std::make_unique<Model>(with_gradients, o.model, train.vocab, train.length);
    forward_model_ = std::make_unique<Model>(without, o.model, train.vocab, train.length);
    place_length_ = model_->place_length();
    train_ = upload(train, memory_);
    train_.order = order_ = memory_.array<int32_t>(train.count);
    const int64_t queries = int64_t{o.train.batch} * train.queries;
    batch_ = {memory_.array<int32_t>(int64_t{o.train.batch} * train.length),
              memory_.array<int32_t>(queries),
              train_.label ? memory_.array<int32_t>(queries) : nullptr,
              memory_.array<int32_t>(train.correct.empty() ? queries : queries * train.length),
              train.correct.empty() ? nullptr : memory_.array<int32_t>(queries + 1),
              o.train.batch,
              o.model.has_backbone() ? memory_.floats(int64_t{o.train.batch} * train.length * o.model.feature_width)
                                     : nullptr};
    if (model_->budget()) observed_.emplace(memory_, BudgetLearnShape{o.train.batch, train.queries, o.model.d_model});
    hits_ = memory_.array<int32_t>(5 * queries);
    set_zero(Device::cuda, hits_, 4 * queries * sizeof(int32_t));
    routing_weight_ = memory_.floats(1);
    at_ = memory_.array<GpuStep>(1);
    test_at_ = memory_.array<GpuTest>(1);
    log_ = memory_.array<GpuLog>(most_steps);
    seen_.resize(most_steps);
    gradients_.bytes(gradient_bytes()); // in one piece, which one fill clears
    gradients_.reset();
    cuda::synchronize();
}

// What a step's activations have of gradients, op by op; where a GPU's node does several ops it is less.
size_t GpuStepper::gradient_bytes() const {
    Arena nowhere(Device::none), gradients(Device::none);
    Tape tape(nowhere, true, &gradients);
    const Batch b = batch_of(batch_, batch_.batch, train_);
    losses(tape, (*model_)(tape, b.tokens, b.query, b.features), b, 1.f, 1.f);
    return gradients.mark().used;
}

GpuStepper::Repeated::~Repeated() {
    if (graph) cuda::drop(graph);
}

// The first, uncaptured run sizes the arenas; the second is captured, and from there on the graph is replayed.
template <class F>
void GpuStepper::Repeated::operator()(F work) {
    if (!made) {
        made = true;
        return work();
    }
    if (!graph) graph = cuda::capture([](void* f) { (*static_cast<F*>(f))(); }, &work);
    cuda::replay(graph);
}

void GpuStepper::put() {
    if (newest_ != Side::host) return;
    copy_in(Device::cuda, parameters_, numbers_.parameters.data(), size_ * sizeof(float));
    copy_in(Device::cuda, m_, numbers_.optimiser.m.data(), size_ * sizeof(float));
    copy_in(Device::cuda, v_, numbers_.optimiser.v.data(), size_ * sizeof(float));
    newest_ = Side::both;
}

const Numbers& GpuStepper::numbers() {
    if (newest_ != Side::gpu) return numbers_;
    copy_out(Device::cuda, numbers_.parameters.data(), parameters_, size_ * sizeof(float));
    copy_out(Device::cuda, numbers_.optimiser.m.data(), m_, size_ * sizeof(float));
    copy_out(Device::cuda, numbers_.optimiser.v.data(), v_, size_ * sizeof(float));
    newest_ = Side::both;
    return numbers_;
}

Numbers& GpuStepper::edit() {
    numbers();
    newest_ = Side::host;
    return numbers_;
}

// The schedule and the frozen parameters go up once.
GpuStepper::Prepared& GpuStepper::prepare(const Phase& phase) {
    Prepared& p = prepared_[static_cast<int>(phase.objective)];
    if (p.schedule) return p;
    const OneCycle cycle{options_.train.learning_rate, phase.cycle};
    std::vector<AdamWRates> schedule;
    for (int64_t s = 0; s < phase.steps; ++s) schedule.push_back(numbers_.optimiser.rates(s + 1, cycle.at(s)));
    p.schedule = upload(schedule, memory_);
    std::vector<uint8_t> frozen(phase.frozen.empty() ? 0 : size_);
    for (const auto& [offset, size] : phase.frozen) std::fill_n(frozen.begin() + offset, size, uint8_t{1});
    p.frozen = upload(frozen, memory_);
    return p;
}

GpuCount GpuStepper::count_of(const Model::Output& out, const Batch& b) const {
    return {static_cast<int>(b.query.shape.size()),
            options_.model.top_k,
            out.logits.cols(),
            out.chosen.data,
            b.place.data,
            b.bounds.data,
            b.label.data,
            out.logits.data,
            hits_};
}

// Launches only, on the stream, and the same ones each time: it is captured.
void GpuStepper::step(Objective objective) {
    tape_.reset();
    cuda::gather_batch(train_, at_, per_epoch_, batch_);
    const int n = batch_.batch, q = train_.queries;
    const Batch b = batch_of(batch_, n, train_);
    const float weight = query_weight(n, q);
    GpuLosses minimised{};
    GpuCount count{n * q, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr, hits_};
    if (objective == Objective::training) {
        const Model::Output out = (*model_)(tape_, b.tokens, b.query, b.features);
        count = count_of(out, b);
        if (b.label.data && !b.bounds.data && out.scores && !out.earlier[0]) {
            float *answer = activations_.floats(n * q), *routing = activations_.floats(n * q);
            count.scores = out.scores.data, count.places = out.scores.cols();
            cuda::losses_and_hits(count,
                                  {weight, weight, routing_weight_, answer, routing, out.logits.grad, out.scores.grad});
            minimised = {answer, {routing}, 1};
        } else {
            const Losses l = losses(tape_, out, b, weight, 1.f, routing_weight_);
            minimised.answer = l.answer.data;
            for (int r = 0; r < l.rounds; ++r) minimised.routing[r] = l.routing[r].data;
            minimised.rounds = l.rounds;
            cuda::count_hits(count);
        }
        if (observed_) observed_->set(0, out.mixed.features, out.mixed.taking_part);
    } else {
        minimised.routing[0] = contrastive_loss(tape_, *model_, b, weight).data;
        minimised.rounds = 1;
    }
    cuda::with_sums_together([](void* tape) { static_cast<Tape*>(tape)->backward(); }, &tape_);
    const Prepared& p = prepared_[static_cast<int>(objective)];
    const GpuUpdate update{size_, parameters_, grad_, m_, v_, p.frozen, options_.train.clip, p.schedule};
    cuda::finish_step(update, minimised, count, at_, log_, most_steps);
    if (observed_ && objective == Objective::training)
        model_->budget()->learn(*observed_, minimised.routing[minimised.rounds - 1], &at_->stopped);
}

std::span<const Stepper::Shown> GpuStepper::run(const Phase& phase, int64_t first, int64_t n) {
    n = std::min<int64_t>(n, most_steps);
    check(0 < n && first + n <= phase.steps, "GpuStepper: steps {} to {} of {}", first, first + n, phase.steps);
    constexpr Device gpu = Device::cuda;
    put();
    newest_ = Side::gpu;
    Prepared& p = prepare(phase);
    copy_in(gpu, order_, phase.order.data(), phase.order.size() * sizeof(int32_t));
    const auto w = static_cast<float>(phase.routing_weight);
    copy_in(gpu, routing_weight_, &w, sizeof w);
    GpuStep at{first, 0, 1.f, 0};
    copy_in(gpu, at_, &at, sizeof at);
    if (batch_.features && !train_features_)
        train_features_.emplace(train_set_, half_features(), memory_, train_, workers_);
    const int* const batch_of_first = phase.order.data() + first % per_epoch_ * batch_.batch;
    for (int64_t i = 0; i < n; ++i) {
        if (train_features_) train_features_->send(batch_of_first + i * batch_.batch, batch_.batch, batch_);
        p.step([&] { step(phase.objective); });
    }

    copy_out(gpu, &at, at_, sizeof at);
    const auto shown = static_cast<int>(at.next - first + at.stopped), begin = static_cast<int>(first % most_steps),
               unbroken = std::min(shown, most_steps - begin); // the log is a ring
    copy_out(gpu, seen_.data(), log_ + begin, unbroken * sizeof(GpuLog));
    if (shown > unbroken) copy_out(gpu, seen_.data() + unbroken, log_, (shown - unbroken) * sizeof(GpuLog));
    if (observed_) numbers(), on_host_.model().budget()->expect_finite();
    shown_.clear();
    const int64_t queries = int64_t{options_.train.batch} * train_.queries;
    for (const GpuLog& log : std::span(seen_.data(), shown))
        shown_.push_back(
            {{queries, log.at_k, log.at_1, log.correct, log.all, log.answer_loss, log.routing_loss}, log.grad_norm});
    return shown_;
}

std::string GpuStepper::not_finite(const Phase& phase, int64_t step) {
    numbers();
    const std::string op = on_host_.first_not_finite(phase, step);
    return op.empty() ? "the GPU has a NaN or Inf where the CPU has a finite number" : op;
}

// Launches only, and the same ones each time: it is captured. Of a last batch that is not full, a part counts.
void GpuStepper::test_batch() {
    forward_only_.reset();
    cuda::gather_batch(test_, test_at_, batch_);
    const Batch b = batch_of(batch_, batch_.batch, test_);
    test_output_ = (*forward_model_)(forward_only_, b.tokens, b.query, b.features);
    GpuCount count = count_of(test_output_, b);
    if (const Tensor s = test_output_.scores) count.scores = s.data, count.places = s.cols();
    cuda::count_hits(count);
    cuda::finish_test_batch(test_, count, batch_.batch, test_at_);
}

void GpuStepper::forget_test_set() {
    tested_ = nullptr;
    test_batch_.reset(); // its graph reads the old one
}

Counts GpuStepper::evaluate(const Dataset& test, bool closely) {
    put();
    if (tested_ != &test) {
        forget_test_set();
        test_memory_.reset();
        test_ = upload(test, test_memory_);
        if (batch_.features) test_features_.emplace(test, half_features(), test_memory_, test_, workers_);
        tested_ = &test;
        test_batch_.emplace();
    }
    set_zero(Device::cuda, test_at_, sizeof *test_at_);
    Counts sum;
    std::vector<int> sequences(batch_.batch);
    for (int first = 0; first < test.count; first += batch_.batch) {
        if (test_features_) {
            for (int i = 0; i < batch_.batch; ++i) sequences[i] = std::min(first + i, test.count - 1);
            test_features_->send(sequences.data(), batch_.batch, batch_);
        }
        (*test_batch_)([&] { test_batch(); });
        if (closely) sum.add(look_closely(test, first, std::min(batch_.batch, test.count - first)));
    }
    GpuTest counted{};
    copy_out(Device::cuda, &counted, test_at_, sizeof counted);
    if (counted.not_finite)
        fail(Exit::non_finite, "the model's output for {} of the {} test queries has a NaN or Inf", counted.not_finite,
             int64_t{test.count} * test.queries);
    if (closely) return sum;
    sum.queries = int64_t{test.count} * test.queries;
    sum.at_k = counted.at_k, sum.at_1 = counted.at_1, sum.correct = counted.correct, sum.all = counted.all;
    return sum;
}

Counts GpuStepper::look_closely(const Dataset& test, int first, int n) const {
    std::vector<float> scores, logits;
    std::vector<int32_t> chosen;
    const auto on_host = [&](auto from, auto& to) { // the first n sequences' part
        if (!from.data) return from;
        from.shape.n[0] = from.shape.n[0] / batch_.batch * n;
        to.resize(from.shape.size());
        copy_out(Device::cuda, to.data(), from.data, to.size() * sizeof to[0]);
        from.data = to.data();
        return from;
    };
    Model::Output seen;
    seen.scores = on_host(test_output_.scores, scores), seen.chosen = on_host(test_output_.chosen, chosen);
    seen.logits = on_host(test_output_.logits, logits);
    Arena arena;
    return count(seen, gather_targets(arena, test, place_length_, first, n), options_.model.top_k, true);
}

} // namespace fci
