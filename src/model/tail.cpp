#include "model/tail.h"

namespace fci {

bool TailShape::fits() const {
    constexpr int most_floats = (96 << 10) / sizeof(float); // of shared memory: every GPU from sm_80 on has that
    return d % 4 == 0 && d <= widest && vocab <= most_words && queries() <= most_queries &&
           tail_floats(*this) <= most_floats;
}

TailOutput tail(Tape& tape, TailShape s, TailWeights<const float> w, TailWeights<float> dw, Tensor x, IntTensor query) {
    const TailOutput out{tape.tensor({s.batch, s.rows, s.time}),
                         tape.tensor({s.batch, s.rows, s.vocab}),
                         {tape.arena().array<int32_t>(int64_t{s.queries()} * s.seen()), {s.batch, s.rows, s.seen()}}};
    float* saved = tape.recording() ? tape.arena().floats(int64_t{s.queries()} * TailRecord(s).size) : nullptr;
    int32_t* chosen = const_cast<int32_t*>(out.chosen.data);
    cuda::tail_forward(s, w, x.data, query.data, out.scores.data, chosen, out.logits.data, saved);
    tape.append("tail", out.logits, {}, [=] {
        cuda::tail_backward(s, w, dw, x.data, query.data, out.chosen.data, saved, out.scores.grad, out.logits.grad,
                            x.grad);
    });
    return out;
}

} // namespace fci
