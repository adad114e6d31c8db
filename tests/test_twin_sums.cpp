// Sums over many rows on a GPU: their bits depend neither on the order of threads nor on the launch that makes them.
#include <algorithm>
#include <cmath>

#include "ops/embedding.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "tests/catch.h"
#include "tests/side.h"
#include "train/gpu.h"

using namespace fci;

namespace emulator {
[[gnu::weak]] void set_order(int); // order of a kernel's threads; not linked on a GPU
}

// The sum has the order of cuda/rows.cuh and consists of additions only: so the bits are known on any device.
TEST_CASE("twins: a token that most positions name has the same gradient in every order of threads", "[twin]") {
#if defined(__SANITIZE_THREAD__) // a thread's turn takes 1000 times as long there
    const std::vector<EmbeddingShape> shapes{{1, 129, 3}};
#else
    const std::vector<EmbeddingShape> shapes{{1, 129, 3}, {1, 100, 130}, {4, 160, 33}};
#endif
    for (const EmbeddingShape s : shapes) {
        const int n = s.batch * s.time, chunk = 128, tokens = 40;
        std::vector<int32_t> id(n);
        std::vector<float> dy(int64_t{n} * s.d), before(tokens * s.d), expected;
        for (int i = 0; i < n; ++i) id[i] = i % 8 == 3 ? 1 + i % (tokens - 1) : 0; // 0: 7 of 8
        for (size_t i = 0; i < dy.size(); ++i) dy[i] = std::sin(static_cast<float>(i)) * static_cast<float>(i % 97);
        for (size_t i = 0; i < before.size(); ++i) before[i] = std::cos(static_cast<float>(i));
        expected = before;
        for (int row = 0; row < tokens; ++row)
            for (int c = 0; c < s.d; ++c) {
                float sum = 0;
                for (int begin = 0; begin < n; begin += chunk) {
                    float of_chunk = 0;
                    for (int i = begin; i < std::min(n, begin + chunk); ++i)
                        if (id[i] == row) of_chunk += dy[int64_t{i} * s.d + c];
                    sum += of_chunk;
                }
                expected[row * s.d + c] += sum;
            }
        for (const int order : {0, 1, 2}) {
            INFO(n << " positions, " << s.d << " channels, order " << order);
            if (emulator::set_order) emulator::set_order(order);
            Side gpu(Device::cuda);
            float* de = gpu.in(before);
            cuda::embedding_backward(s, gpu.in(id), gpu.in(dy), de, nullptr);
            CHECK(gpu.out(de, static_cast<int64_t>(before.size())) == expected);
        }
        if (emulator::set_order) emulator::set_order(0);
    }
}

TEST_CASE("twins: sums over rows have the same bits made together or one by one", "[twin]") {
    constexpr int rows = 300, out = 33, in = 5, layers = 9, time = 3; // two sums per layer or more: several launches
    std::vector<float> dy(rows * out), x(rows * in), h(rows * out), ones(rows, 0.5f);
    for (size_t i = 0; i < dy.size(); ++i) dy[i] = std::sin(static_cast<float>(i)), h[i] = std::cos(dy[i] * 7);
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i));
    std::vector<float> made[2];
    for (const bool together : {false, true}) {
        Side gpu(Device::cuda);
        const float *of_dy = gpu.in(dy), *of_x = gpu.in(x), *of_h = gpu.in(h), *half = gpu.in(ones);
        const int32_t* id = gpu.in(std::vector<int32_t>(rows, 2));
        constexpr int64_t each = 3 * out + in * out + time * out;
        float* to = gpu.in(std::vector<float>(layers * each, 0.25f));
        const std::vector<float> unread(rows * out);
        float *dx = gpu.in(unread), *table = gpu.in(unread);
        const auto work = [&] {
            for (float* d = to; d < to + layers * each; d += each) {
                cuda::linear_backward({rows, in, out}, of_x, nullptr, of_dy, nullptr, d + 3 * out, d);
                cuda::layer_norm_backward({rows, out}, of_h, half, half, half, of_dy, dx, d + out, d + 2 * out);
                cuda::embedding_backward({rows / time, time, out}, id, of_dy, table, d + 3 * out + in * out);
            }
        };
        if (together)
            cuda::with_sums_together([](void* f) { (*static_cast<decltype(work)*>(f))(); },
                                     const_cast<void*>(static_cast<const void*>(&work)));
        else
            work();
        made[together] = gpu.out(to, layers * each);
    }
    CHECK(made[0] == made[1]);
    CHECK(std::abs(made[0][0] - 0.25f) > 1e-4f);
}
