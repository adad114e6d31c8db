// The whole algorithm in one file: a model learns where to look. Plain C++ without a library and without speed, to be
// read from top to bottom; src/ has the same with every option, and fast (tests/test_examples.cpp: the same losses).
//
//   g++ -std=c++20 -O3 tests/examples/one_file.cpp -o one_file && ./one_file                               (1 minute)
//
// The task  MQAR: a sequence begins with pairs of a key and a value, k1 v1 k2 v2 ..., and its last token is one of the
//           keys again. The model has to name that key's value, and to say where in the sequence the key stood.
// The model tokens -> embedding + position -> a transformer block -> x, a row of numbers for each position
//           Investigator: scores every position for the last row; the k best are chosen, each with its right neighbour
//           Council:      the last row attends to the chosen rows alone -> head -> a score for every token
// The loss  cross-entropy of the answer + w times that of the Investigator's scores; w falls from 1 to 0.1.
//
// Numbers of several rows lie row after row in one array: x[row * width + column]. A function NAME_back turns the
// derivative of the loss by NAME's output (dy) into those by its inputs (dx, dW), which it ADDS to what is there.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

namespace one_file {

using Numbers = std::vector<double>;

struct Setting {
    int length = 32, pairs = 8, vocab = 64;                             // of a sequence
    int d = 64, heads = 4, k = 1;                                       // of the model: width of a row, heads, choices
    int sequences = 4000, test_sequences = 200, batch = 32, epochs = 6; // of the training
    double learning_rate = 2e-3, weight_decay = 0.01, clip = 1.0;
    uint64_t seed = 1;
};

// ---- Random numbers ----

// Philox4x32-10 [Salmon et al. 2011] scrambles a counter: number i of stream (seed, purpose, step) is a function of
// these four, so that any sequence or parameter can be made without those before it.
struct Random {
    enum Purpose : uint32_t { training_data = 1, test_data = 2, start_values = 3, order = 4 };
    std::array<uint32_t, 2> seed;
    std::array<uint32_t, 4> counter, block{};
    int used = 4;

    Random(uint64_t s, Purpose purpose, uint64_t step)
        : seed{uint32_t(s), uint32_t(s >> 32)}, counter{0, uint32_t(step), uint32_t(step >> 32), purpose} {}

    uint32_t bits() {
        if (used == 4) {
            block = counter;
            std::array<uint32_t, 2> key = seed;
            for (int round = 0; round < 10; ++round) {
                const uint64_t a = uint64_t{0xD2511F53} * block[0], b = uint64_t{0xCD9E8D57} * block[2];
                block = {uint32_t(b >> 32) ^ block[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ block[3] ^ key[1],
                         uint32_t(a)};
                key[0] += 0x9E3779B9, key[1] += 0xBB67AE85;
            }
            ++counter[0], used = 0;
        }
        return block[used++];
    }
    uint32_t below(uint32_t n) { // uniform among 0 .. n-1 [Lemire 2019]
        uint64_t m = uint64_t{bits()} * n;
        while (uint32_t(m) < n && uint32_t(m) < -n % n) m = uint64_t{bits()} * n;
        return uint32_t(m >> 32);
    }
    int between(int low, int high) { return low + int(below(uint32_t(high - low))); } // high is not among them
    float uniform() { return float(bits() >> 8) * 0x1p-24f; }                         // [0, 1)
    double uniform64() {
        const uint64_t high = bits();
        return double((high << 32 | bits()) >> 11) * 0x1p-53;
    }
    float normal() { // [Box & Muller 1958]
        const double radius = std::sqrt(-2 * std::log(1 - uniform64())), angle = 2 * M_PI * uniform64();
        return float(radius * std::cos(angle));
    }
};

// ---- The task ----

struct Sequence {
    std::vector<int> tokens;
    int answer, label; // where the key stood that the last token asks for; its value
};

Sequence make_sequence(const Setting& s, Random::Purpose purpose, int number) {
    Random random(s.seed, purpose, uint64_t(number));
    const int half = s.vocab / 2; // keys are 1 .. half-1, values half .. vocab-1, 0 fills up
    std::vector<int> keys(half - 1);
    std::iota(keys.begin(), keys.end(), 1);
    for (int i = 0; i < s.pairs; ++i) std::swap(keys[i], keys[random.between(i, half - 1)]); // distinct ones
    Sequence q{std::vector<int>(s.length, 0), 0, 0};
    for (int i = 0; i < s.pairs; ++i) q.tokens[2 * i] = keys[i], q.tokens[2 * i + 1] = random.between(half, s.vocab);
    q.answer = 2 * int(random.below(uint32_t(s.pairs)));
    q.tokens.back() = q.tokens[q.answer], q.label = q.tokens[q.answer + 1];
    return q;
}

// ---- The layers ----

// linear: y[r,o] = sum_i x[r,i] W[o,i] + b[o]
void linear(int rows, int in, int out, const double* x, const double* W, const double* b, double* y) {
    for (int r = 0; r < rows; ++r)
        for (int o = 0; o < out; ++o) {
            double sum = b ? b[o] : 0;
            for (int i = 0; i < in; ++i) sum += x[r * in + i] * W[o * in + i];
            y[r * out + o] = sum;
        }
}
// dx[r,i] += sum_o dy[r,o] W[o,i]     dW[o,i] += sum_r dy[r,o] x[r,i]     db[o] += sum_r dy[r,o]
void linear_back(int rows, int in, int out, const double* x, const double* W, const double* dy, double* dx, double* dW,
                 double* db) {
    for (int r = 0; r < rows; ++r)
        for (int o = 0; o < out; ++o) {
            const double g = dy[r * out + o];
            for (int i = 0; i < in; ++i) dx[r * in + i] += g * W[o * in + i], dW[o * in + i] += g * x[r * in + i];
            if (db) db[o] += g;
        }
}

// layer_norm [Ba et al. 2016]: xhat = (x - mean) / sqrt(variance + 1e-5) of each row,   y = xhat w + b
std::pair<double, double> moments(int d, const double* x) { // mean, 1 / deviation
    double mean = 0, variance = 0;
    for (int c = 0; c < d; ++c) mean += x[c] / d;
    for (int c = 0; c < d; ++c) variance += (x[c] - mean) * (x[c] - mean) / d;
    return {mean, 1 / std::sqrt(variance + 1e-5)};
}
void layer_norm(int rows, int d, const double* x, const double* w, const double* b, double* y) {
    for (int r = 0; r < rows; ++r, x += d, y += d) {
        const auto [mean, inverse] = moments(d, x);
        for (int c = 0; c < d; ++c) y[c] = (x[c] - mean) * inverse * w[c] + b[c];
    }
}
// with g = dy w:   dx += (g - mean(g) - xhat mean(g xhat)) / deviation     dw += dy xhat     db += dy
void layer_norm_back(int rows, int d, const double* x, const double* w, const double* dy, double* dx, double* dw,
                     double* db) {
    for (int r = 0; r < rows; ++r, x += d, dy += d, dx += d) {
        const auto [mean, inverse] = moments(d, x);
        const auto xhat = [&, m = mean, by = inverse](int c) { return (x[c] - m) * by; };
        double mean_g = 0, mean_gx = 0;
        for (int c = 0; c < d; ++c) mean_g += dy[c] * w[c] / d, mean_gx += dy[c] * w[c] * xhat(c) / d;
        for (int c = 0; c < d; ++c) {
            dx[c] += (dy[c] * w[c] - mean_g - xhat(c) * mean_gx) * inverse;
            dw[c] += dy[c] * xhat(c), db[c] += dy[c];
        }
    }
}

// gelu [Hendrycks & Gimpel 2016]: y = x Phi(x), Phi the normal distribution;   dy/dx = Phi(x) + x phi(x), phi its
// density
double normal_distribution(double x) { return 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }
double gelu(double x) { return x * normal_distribution(x); }
double gelu_derivative(double x) { return normal_distribution(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI); }

// softmax: p[i] = exp(z[i]) / sum_j exp(z[j])
void softmax(int n, double* z) {
    const double most = *std::max_element(z, z + n); // taken away from all: no exp is too large
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += z[i] = std::exp(z[i] - most);
    for (int i = 0; i < n; ++i) z[i] /= sum;
}
// cross-entropy: loss = -ln p[target];   dz[i] += weight (p[i] - [i = target])
double cross_entropy(Numbers z, int target, double weight, double* dz) {
    softmax(int(z.size()), z.data());
    for (int i = 0; dz && i < int(z.size()); ++i) dz[i] += weight * (z[i] - (i == target));
    return -std::log(z[target]);
}

// attention [Vaswani et al. 2017], head by head: p[i,j] = softmax_j(q[i].k[j] / sqrt(width)),   y[i] = sum_j p[i,j]
// v[j] A row of kv is d numbers of k, then d of v. p (heads,rows,keys) is kept for the way back.
void attention(int rows, int keys, int d, int heads, const double* q, const double* kv, double* p, double* y) {
    const int width = d / heads;
    std::fill(y, y + rows * d, 0);
    for (int h = 0; h < heads; ++h)
        for (int i = 0; i < rows; ++i) {
            double* of_row = p + (h * rows + i) * keys;
            for (int j = 0; j < keys; ++j) {
                of_row[j] = 0;
                for (int c = h * width; c < (h + 1) * width; ++c) of_row[j] += q[i * d + c] * kv[j * 2 * d + c];
                of_row[j] /= std::sqrt(double(width));
            }
            softmax(keys, of_row);
            for (int j = 0; j < keys; ++j)
                for (int c = h * width; c < (h + 1) * width; ++c) y[i * d + c] += of_row[j] * kv[j * 2 * d + d + c];
        }
}
// dp[i,j] = dy[i].v[j]     ds[i,j] = p[i,j] (dp[i,j] - sum_l p[i,l] dp[i,l]) / sqrt(width)
// dq[i] += sum_j ds[i,j] k[j]     dk[j] += sum_i ds[i,j] q[i]     dv[j] += sum_i p[i,j] dy[i]
void attention_back(int rows, int keys, int d, int heads, const double* q, const double* kv, const double* p,
                    const double* dy, double* dq, double* dkv) {
    const int width = d / heads;
    Numbers dp(keys);
    for (int h = 0; h < heads; ++h)
        for (int i = 0; i < rows; ++i) {
            const double* of_row = p + (h * rows + i) * keys;
            double mean = 0;
            for (int j = 0; j < keys; ++j) {
                dp[j] = 0;
                for (int c = h * width; c < (h + 1) * width; ++c) {
                    dp[j] += dy[i * d + c] * kv[j * 2 * d + d + c];
                    dkv[j * 2 * d + d + c] += of_row[j] * dy[i * d + c];
                }
                mean += of_row[j] * dp[j];
            }
            for (int j = 0; j < keys; ++j) {
                const double ds = of_row[j] * (dp[j] - mean) / std::sqrt(double(width));
                for (int c = h * width; c < (h + 1) * width; ++c) {
                    dq[i * d + c] += ds * kv[j * 2 * d + c];
                    dkv[j * 2 * d + c] += ds * q[i * d + c];
                }
            }
        }
}

// ---- The parameters ----

struct Parameter {
    Numbers x, grad, m, v; // the numbers, their gradient, AdamW's two averages of it
    double* data() { return x.data(); }
    double* g() { return grad.data(); }
};

struct Linear {
    Parameter W, b;
};
struct LayerNorm {
    Parameter w, b;
};
struct FeedForward { // down gelu(up x), four times as wide inside
    Linear up, down;
};
struct Parameters {
    Parameter token, position;
    LayerNorm norm1;
    Linear q, kv, out; // q and kv start as the rows of one matrix
    LayerNorm norm2;
    FeedForward ffn;
    Parameter wq, wk; // the Investigator's
    LayerNorm council_norm1;
    Linear council_q, council_kv, council_out;
    LayerNorm council_norm2;
    FeedForward council_ffn;
    LayerNorm head_norm;
    Linear head;
    std::vector<Parameter*> all;

    explicit Parameters(const Setting& s) { // start values as PyTorch's
        const int d = s.d;
        int number = 0;
        const auto add = [&](Parameter& p, int size, auto start) {
            p.x.resize(size), p.grad.resize(size), p.m.resize(size), p.v.resize(size);
            for (double& x : p.x) x = start();
            all.push_back(&p);
        };
        const auto next = [&] { return Random(s.seed, Random::start_values, uint64_t(number++)); };
        const auto uniform = [&](Parameter& p, int size, int in, Random& random) {
            const float most = 1 / std::sqrt(float(in));
            add(p, size, [&] { return -most + 2 * most * random.uniform(); });
        };
        const auto add_norm = [&](LayerNorm& n) {
            number += 2;
            add(n.w, d, [] { return 1; }), add(n.b, d, [] { return 0; });
        };
        const auto linear = [&](Linear& l, int in, int out) {
            Random W = next(), b = next();
            uniform(l.W, out * in, in, W), uniform(l.b, out, in, b);
        };
        const auto add_ffn = [&](FeedForward& f) { linear(f.up, d, 4 * d), linear(f.down, 4 * d, d); };

        Random W = next(), b = next();
        add(token, s.vocab * d, [&] { return 0.02f * W.normal(); });
        add(position, s.length * d, [&] { return 0.02f * b.normal(); });
        add_norm(norm1);
        W = next(), b = next();
        uniform(q.W, d * d, d, W), uniform(q.b, d, d, b);
        uniform(kv.W, 2 * d * d, d, W), uniform(kv.b, 2 * d, d, b);
        linear(out, d, d), add_norm(norm2), add_ffn(ffn);
        for (Parameter* p : {&wq, &wk}) uniform(*p, d * d, d, W = next());
        add_norm(council_norm1), linear(council_q, d, d), linear(council_kv, d, 2 * d);
        linear(council_out, d, d), add_norm(council_norm2), add_ffn(council_ffn);
        add_norm(head_norm), linear(head, d, s.vocab);
    }
};

// ---- The model ----

// rows of x through a layer, and back
Numbers apply(Linear& l, int rows, int in, int out, const Numbers& x) {
    Numbers y(rows * out);
    linear(rows, in, out, x.data(), l.W.data(), l.b.data(), y.data());
    return y;
}
void apply_back(Linear& l, int rows, int in, int out, const Numbers& x, const Numbers& dy, Numbers& dx) {
    linear_back(rows, in, out, x.data(), l.W.data(), dy.data(), dx.data(), l.W.g(), l.b.g());
}
Numbers apply(LayerNorm& n, int rows, int d, const Numbers& x) {
    Numbers y(rows * d);
    layer_norm(rows, d, x.data(), n.w.data(), n.b.data(), y.data());
    return y;
}
void apply_back(LayerNorm& n, int rows, int d, const Numbers& x, const Numbers& dy, Numbers& dx) {
    layer_norm_back(rows, d, x.data(), n.w.data(), dy.data(), dx.data(), n.w.g(), n.b.g());
}

// y = x + down gelu(up layer_norm(x)), which ends the block and the Council
struct FeedForwardPart {
    Numbers normed, wide, active, y;

    void forward(LayerNorm& norm, FeedForward& f, int rows, int d, const Numbers& x) {
        normed = apply(norm, rows, d, x);
        wide = active = apply(f.up, rows, d, 4 * d, normed);
        for (double& a : active) a = gelu(a);
        y = apply(f.down, rows, 4 * d, d, active);
        for (size_t i = 0; i < y.size(); ++i) y[i] += x[i];
    }
    Numbers backward(LayerNorm& norm, FeedForward& f, int rows, int d, const Numbers& x, const Numbers& dy) {
        Numbers dx = dy, dactive(active.size()), dnormed(normed.size());
        apply_back(f.down, rows, 4 * d, d, active, dy, dactive);
        for (size_t i = 0; i < dactive.size(); ++i) dactive[i] *= gelu_derivative(wide[i]);
        apply_back(f.up, rows, d, 4 * d, normed, dactive, dnormed);
        apply_back(norm, rows, d, x, dnormed, dx);
        return dx;
    }
};

struct Seen {
    double answer_loss, routing_loss;
    bool found, right; // the answer's position is among the k chosen; the best token is the label
};

// One sequence forward; with learn also backward, adding weight times the gradient of its loss.
Seen run(Parameters& p, const Setting& s, const Sequence& sequence, bool learn, double weight, double routing_weight) {
    const int L = s.length, d = s.d, m = 2 * s.k, last = (L - 1) * d;
    // Embedding: x[t] = token[tokens[t]] + position[t]
    Numbers x(L * d);
    for (int i = 0; i < L * d; ++i) x[i] = p.token.x[sequence.tokens[i / d] * d + i % d] + p.position.x[i];

    // The transformer block, pre-norm [Xiong et al. 2020]: h = x + out attention(layer_norm(x)), then the feed-forward
    const Numbers normed = apply(p.norm1, L, d, x), q = apply(p.q, L, d, d, normed),
                  kv = apply(p.kv, L, d, 2 * d, normed);
    Numbers looked(s.heads * L * L), mixed(L * d);
    attention(L, L, d, s.heads, q.data(), kv.data(), looked.data(), mixed.data());
    Numbers h = apply(p.out, L, d, d, mixed);
    for (int i = 0; i < L * d; ++i) h[i] += x[i];
    FeedForwardPart block;
    block.forward(p.norm2, p.ffn, L, d, h);
    const Numbers& row = block.y; // of every position; the last one asks
    const Numbers asks(row.begin() + last, row.end());

    // The Investigator: score[j] = (Wq asks).(Wk row[j]) / sqrt(heads d) = w.row[j] / sqrt(heads d), w = Wk^T Wq asks
    const double scale = 1 / std::sqrt(double(s.heads) * d);
    Numbers asked(d), w(d), scores(L);
    linear(1, d, d, asks.data(), p.wq.data(), nullptr, asked.data());
    for (int o = 0; o < d; ++o)
        for (int i = 0; i < d; ++i) w[i] += p.wk.x[o * d + i] * asked[o];
    for (int j = 0; j < L; ++j)
        for (int c = 0; c < d; ++c) scores[j] += scale * w[c] * row[j * d + c];
    std::vector<int> chosen(L);
    std::iota(chosen.begin(), chosen.end(), 0);
    std::stable_sort(chosen.begin(), chosen.end(), [&](int a, int b) { return scores[a] > scores[b]; });
    chosen.resize(s.k);
    for (int i = 0; i < s.k; ++i) chosen.push_back(std::min(chosen[i] + 1, L - 1)); // a value follows its key

    // The Council: u = asks + out attention(layer_norm(asks) on layer_norm(chosen rows)), then the feed-forward
    Numbers rows(m * d);
    for (int i = 0; i < m * d; ++i) rows[i] = row[chosen[i / d] * d + i % d];
    const Numbers rows_normed = apply(p.council_norm1, m, d, rows), asks_normed = apply(p.council_norm1, 1, d, asks),
                  cq = apply(p.council_q, 1, d, d, asks_normed), ckv = apply(p.council_kv, m, d, 2 * d, rows_normed);
    Numbers weighed(s.heads * m), told(d);
    attention(1, m, d, s.heads, cq.data(), ckv.data(), weighed.data(), told.data());
    Numbers u = apply(p.council_out, 1, d, d, told);
    for (int i = 0; i < d; ++i) u[i] += asks[i];
    FeedForwardPart council;
    council.forward(p.council_norm2, p.council_ffn, 1, d, u);
    const Numbers last_normed = apply(p.head_norm, 1, d, council.y), logits = apply(p.head, 1, d, s.vocab, last_normed);

    Numbers dlogits(s.vocab), dscores(L);
    const Seen seen{cross_entropy(logits, sequence.label, weight, dlogits.data()),
                    cross_entropy(scores, sequence.answer, weight * routing_weight, dscores.data()),
                    std::find(chosen.begin(), chosen.begin() + s.k, sequence.answer) != chosen.begin() + s.k,
                    std::max_element(logits.begin(), logits.end()) - logits.begin() == sequence.label};
    if (!learn) return seen;

    // The same way back. drow is filled by everything that read a row of the block.
    Numbers drow(L * d), dlast_normed(d), dy(d);
    apply_back(p.head, 1, d, s.vocab, last_normed, dlogits, dlast_normed);
    apply_back(p.head_norm, 1, d, council.y, dlast_normed, dy);
    const Numbers du = council.backward(p.council_norm2, p.council_ffn, 1, d, u, dy);
    Numbers dasks = du; // of every term that reads it
    Numbers dtold(d), dcq(d), dckv(m * 2 * d), dasks_normed(d), drows_normed(m * d), drows(m * d);
    apply_back(p.council_out, 1, d, d, told, du, dtold);
    attention_back(1, m, d, s.heads, cq.data(), ckv.data(), weighed.data(), dtold.data(), dcq.data(), dckv.data());
    apply_back(p.council_q, 1, d, d, asks_normed, dcq, dasks_normed);
    apply_back(p.council_kv, m, d, 2 * d, rows_normed, dckv, drows_normed);
    apply_back(p.council_norm1, 1, d, asks, dasks_normed, dasks);
    apply_back(p.council_norm1, m, d, rows, drows_normed, drows);
    for (int i = 0; i < m * d; ++i) drow[chosen[i / d] * d + i % d] += drows[i];

    // dw = scale sum_j dscores[j] row[j]     dWk += asked dw^T     dasked = Wk dw     (a choice has no derivative)
    Numbers dw(d), dasked(d);
    for (int j = 0; j < L; ++j)
        for (int c = 0; c < d; ++c)
            dw[c] += scale * dscores[j] * row[j * d + c], drow[j * d + c] += scale * dscores[j] * w[c];
    for (int o = 0; o < d; ++o)
        for (int i = 0; i < d; ++i) dasked[o] += p.wk.x[o * d + i] * dw[i], p.wk.grad[o * d + i] += asked[o] * dw[i];
    linear_back(1, d, d, asks.data(), p.wq.data(), dasked.data(), dasks.data(), p.wq.g(), nullptr);
    for (int i = 0; i < d; ++i) drow[last + i] += dasks[i];

    const Numbers dh = block.backward(p.norm2, p.ffn, L, d, h, drow);
    Numbers dx = dh, dmixed(L * d), dq(L * d), dkv(L * 2 * d), dnormed(L * d);
    apply_back(p.out, L, d, d, mixed, dh, dmixed);
    attention_back(L, L, d, s.heads, q.data(), kv.data(), looked.data(), dmixed.data(), dq.data(), dkv.data());
    apply_back(p.q, L, d, d, normed, dq, dnormed);
    apply_back(p.kv, L, d, 2 * d, normed, dkv, dnormed);
    apply_back(p.norm1, L, d, x, dnormed, dx);
    for (int i = 0; i < L * d; ++i)
        p.token.grad[sequence.tokens[i / d] * d + i % d] += dx[i], p.position.grad[i] += dx[i];
    return seen;
}

// ---- The training ----

// OneCycle [Smith & Topin 2018]: the learning rate rises for 30% of the steps, then falls to nearly nothing, along half
// a cosine each way; b1, the memory of AdamW's first average, goes the other way.
void schedule(const Setting& s, int step, int steps, double* rate, double* b1) {
    const double turn = 0.3 * steps - 1, low = s.learning_rate / 25;
    const bool rising = step < turn;
    const double part = rising ? step / turn : (step - turn) / (steps - 1 - turn);
    const auto between = [&](double from, double to) { return to + (from - to) / 2 * (1 + std::cos(M_PI * part)); };
    *rate = rising ? between(low, s.learning_rate) : between(s.learning_rate, low / 1e4);
    *b1 = rising ? between(0.95, 0.85) : between(0.85, 0.95);
}

// AdamW [Loshchilov & Hutter 2019] along the gradient, cut to length `clip`; afterwards the gradient is 0.
void update(Parameters& p, const Setting& s, int step, int steps) {
    double rate, b1, squares = 0;
    schedule(s, step, steps, &rate, &b1);
    const double b2 = 0.999, c1 = 1 - std::pow(b1, step + 1), c2 = 1 - std::pow(b2, step + 1);
    for (Parameter* q : p.all)
        for (const double g : q->grad) squares += g * g;
    const double factor = std::min(1.0, s.clip / (std::sqrt(squares) + 1e-6));
    for (Parameter* q : p.all)
        for (size_t i = 0; i < q->x.size(); ++i) {
            const double g = factor * q->grad[i];
            q->m[i] = b1 * q->m[i] + (1 - b1) * g;
            q->v[i] = b2 * q->v[i] + (1 - b2) * g * g;
            q->x[i] *= 1 - rate * s.weight_decay;
            q->x[i] -= rate * (q->m[i] / c1) / (std::sqrt(q->v[i] / c2) + 1e-8);
            q->grad[i] = 0;
        }
}

// Calls report(step, loss) after each step, until that says no.
template <class Report>
void train(Parameters& p, const Setting& s, Report report) {
    const int per_epoch = s.sequences / s.batch, steps = s.epochs * per_epoch;
    std::vector<int> order(s.sequences);
    for (int step = 0; step < steps; ++step) {
        const int epoch = step / per_epoch;
        if (step % per_epoch == 0) { // another order each epoch [Durstenfeld 1964]
            Random random(s.seed, Random::order, uint64_t(epoch));
            std::iota(order.begin(), order.end(), 0);
            for (int i = s.sequences - 1; i > 0; --i) std::swap(order[i], order[random.below(uint32_t(i + 1))]);
        }
        const double routing_weight = s.epochs > 1 ? 1 - 0.9 * epoch / (s.epochs - 1) : 1;
        double loss = 0;
        for (int i = 0; i < s.batch; ++i) {
            const Sequence q = make_sequence(s, Random::training_data, order[step % per_epoch * s.batch + i]);
            const Seen seen = run(p, s, q, true, 1.0 / s.batch, routing_weight);
            loss += (seen.answer_loss + routing_weight * seen.routing_loss) / s.batch;
        }
        update(p, s, step, steps);
        if (!report(step + 1, loss)) return;
    }
}

} // namespace one_file

#ifndef EXAMPLE_WITHOUT_MAIN
int main() {
    using namespace one_file;
    const Setting s;
    Parameters p(s);
    const int per_epoch = s.sequences / s.batch;
    std::printf("epoch    loss   routing   accuracy     (by chance: routing %.0f%%)\n", 100.0 * s.k / s.pairs);
    train(p, s, [&](int step, double loss) {
        if (step % per_epoch) return true;
        int found = 0, right = 0;
        for (int i = 0; i < s.test_sequences; ++i) {
            const Seen seen = run(p, s, make_sequence(s, Random::test_data, i), false, 0, 0);
            found += seen.found, right += seen.right;
        }
        std::printf("%5d %7.3f %8.1f%% %9.1f%%\n", step / per_epoch, loss, 100.0 * found / s.test_sequences,
                    100.0 * right / s.test_sequences);
        return true;
    });
}
#endif
