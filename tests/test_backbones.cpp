// Pretrained models against tests/golden/backbones, computed by Hugging Face transformers for tiny random models: every
// layer within 1e-5 of its largest number. Then things that must not matter (workers, sequences per call, shards), and
// random weights. Invalid folders: test_backbone_folders.cpp.
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "core/gemm.h"
#include "core/half.h"
#include "core/signals.h"
#include "tests/backbones.h"

using namespace fci;
using namespace fci::test;
namespace fs = std::filesystem;

TEST_CASE("backbones: hidden states of every layer are those of transformers", "[backbones]") {
    Workers workers(2);
    for (const std::string name : models) {
        const auto model = Backbone::open(golden + name);
        const Expected e(golden + name + "/expected.safetensors");
        REQUIRE(model->shape().layers == e.layers);
        REQUIRE(model->shape().width == e.width);
        CHECK(name.starts_with(model->shape().family));
        for (int l = 0; l <= e.layers; ++l) {
            INFO(name << ", layer " << l);
            CHECK(off(hidden(*model, e.tokens, e.length, l, workers), e.of_layer(l)) < 1e-5);
        }
    }
}

TEST_CASE("backbones: on a GPU the hidden states are those of transformers, the same for each sequence alone",
          "[backbones][twin]") {
    Workers workers(2);
    for (const std::string name : models) {
        const auto model = Backbone::open(golden + name);
        const Expected e(golden + name + "/expected.safetensors");
        const auto on_gpu = [&](const std::vector<int32_t>& tokens, int layer) {
            return hidden(*model, tokens, e.length, layer, workers, Device::cuda);
        };
        for (const int l : {0, 1, e.layers}) {
            INFO(name << ", layer " << l);
            const std::vector<float> x = on_gpu(e.tokens, l);
            CHECK(off(x, e.of_layer(l)) < 1e-5);
            const std::vector<float> last = on_gpu({e.tokens.end() - e.length, e.tokens.end()}, l);
            CHECK(std::equal(last.begin(), last.end(), x.end() - static_cast<std::ptrdiff_t>(last.size())));
        }
    }
}

TEST_CASE("backbones: the same bits for any number of workers, and of sequences in a call", "[backbones][threads]") {
    for (const std::string name : models) {
        INFO(name);
        const auto model = Backbone::open(golden + name);
        const Expected e(golden + name + "/expected.safetensors");
        std::vector<float> first, apart;
        for (const int count : {1, 2, 5}) {
            Workers workers(count);
            const std::vector<float> x = hidden(*model, e.tokens, e.length, e.layers, workers);
            if (first.empty()) first = x;
            CHECK(x == first);
        }
        Workers workers(2);
        for (int b = 0; b < e.n; ++b) {
            const std::vector<int32_t> one(e.tokens.begin() + b * e.length, e.tokens.begin() + (b + 1) * e.length);
            const std::vector<float> x = hidden(*model, one, e.length, e.layers, workers);
            apart.insert(apart.end(), x.begin(), x.end());
        }
        CHECK(apart == first);
        CHECK(model->at_once(e.length, Device::cpu) >= 1);
    }
}

TEST_CASE("backbones: a stop is heard between layers, but not in a step", "[backbones]") {
    Workers workers(1);
    const auto model = Backbone::open(golden + "llama_tied");
    const SignalGuard guard;
    std::raise(SIGUSR1);
    for (const Device device : {Device::cpu, Device::cuda})
        for (const bool may_stop : {true, false}) {
            const int32_t tokens[] = {1, 2};
            std::vector<float> x(size_t{2} * model->shape().width);
            const auto error = error_of([&] { model->hidden(tokens, 1, 2, 1, x.data(), workers, device, may_stop); });
            if (may_stop)
                expect_error(error, Exit::interrupted, "stopped");
            else
                CHECK(error.empty());
        }
}

TEST_CASE("backbones: a position knows those before it only", "[backbones]") {
    Workers workers(1);
    for (const std::string name : models) {
        INFO(name);
        const auto model = Backbone::open(golden + name);
        Expected e(golden + name + "/expected.safetensors");
        const int seen = 7;
        const auto before = hidden(*model, e.tokens, e.length, e.layers, workers);
        for (int t = seen; t < e.length; ++t) e.tokens[t] = (e.tokens[t] + 1) % model->shape().vocab;
        const auto after = hidden(*model, e.tokens, e.length, e.layers, workers);
        CHECK(std::equal(before.begin(), before.begin() + seen * e.width, after.begin()));
        CHECK(!std::equal(before.begin(), before.begin() + e.length * e.width, after.begin()));
    }
}

TEST_CASE("backbones: the hash is of the weights and the config, not of the shards", "[backbones]") {
    const Folder folder("llama_sharded_bf16");
    const uint64_t before = Backbone::open(folder.path)->hash();
    CHECK(Backbone::open(golden + "llama_sharded_bf16")->hash() == before);
    std::vector<std::unique_ptr<SafetensorsFile>> shards;
    std::vector<StoredTensor> all;
    for (int i = 1; i <= 3; ++i) {
        shards.push_back(
            std::make_unique<SafetensorsFile>(folder / fmt::format("model-0000{}-of-00003.safetensors", i)));
        all.insert(all.end(), shards.back()->tensors().begin(), shards.back()->tensors().end());
    }
    write_safetensors(folder / "model.safetensors", all);
    CHECK(Backbone::open(folder.path)->hash() == before);

    Workers workers(1);
    const Expected e(golden + "llama_sharded_bf16/expected.safetensors");
    CHECK(off(hidden(*Backbone::open(folder.path), e.tokens, e.length, e.layers, workers), e.of_layer(e.layers)) <
          1e-5);
    folder.change([](auto& tensors) { const_cast<char*>(static_cast<const char*>(tensors[3].data))[0] ^= 1; });
    CHECK(Backbone::open(folder.path)->hash() != before);
    folder.replace("config.json", "7000", "7001");
    CHECK(Backbone::open(folder.path)->hash() != before);
}

TEST_CASE("backbones: random weights have the shape, and the seed's numbers", "[backbones]") {
    Workers one(1), three(3);
    const uint64_t seed = 1, other = 2;
    for (const std::string name : models) {
        INFO(name);
        const Expected e(golden + name + "/expected.safetensors");
        const auto stored = Backbone::open(golden + name), drawn = Backbone::open(golden + name, &seed);
        const auto x = hidden(*drawn, e.tokens, e.length, e.layers, one);
        CHECK(x == hidden(*Backbone::open(golden + name, &seed), e.tokens, e.length, e.layers, three));
        CHECK(x != hidden(*Backbone::open(golden + name, &other), e.tokens, e.length, e.layers, three));
        CHECK(drawn->hash() != stored->hash());
        CHECK(drawn->hash() != Backbone::open(golden + name, &other)->hash());
        CHECK(drawn->shape().width == stored->shape().width);

        const Folder folder(name); // the shape alone is enough
        for (const std::string& file : folder.names())
            if (file.find("safetensors") != std::string::npos) fs::remove(folder / file);
        CHECK(x == hidden(*Backbone::open(folder.path, &seed), e.tokens, e.length, e.layers, one));

        const auto embedded = hidden(*drawn, e.tokens, e.length, 0, one); // drawn from N(0, 0.02)
        double squares = 0;
        for (const float v : embedded) squares += v * v;
        CHECK(std::sqrt(squares / embedded.size()) == Approx(0.02).epsilon(0.15));
    }
}

TEST_CASE("backbones: sizes within Mamba are the tensors'", "[backbones]") {
    const Folder folder("mamba");
    folder.replace("config.json", "\"intermediate_size\": 38", "\"intermediate_size\": 999");
    folder.replace("config.json", "\"state_size\": 5", "\"state_size\": 7");
    Workers workers(1);
    const Expected e(golden + "mamba/expected.safetensors");
    CHECK(off(hidden(*Backbone::open(folder.path), e.tokens, e.length, e.layers, workers), e.of_layer(e.layers)) <
          1e-5);
}

TEST_CASE("half and bfloat16 become the float that they are, in a worker too", "[backbones]") {
    std::vector<float> half(1 << 16), brain(1 << 16);
    Workers(1).run(1, [&](int, int) {
        for (int i = 0; i < 1 << 16; ++i) {
            half[i] = half_to_float(static_cast<uint16_t>(i));
            brain[i] = bfloat_to_float(static_cast<uint16_t>(i));
        }
    });
    for (int i = 0; i < 1 << 16; ++i) {
        const int e = i >> 10 & 31, m = i & 1023, sign = i >> 15 ? -1 : 1;
        const double expected = sign * (e == 0 ? std::ldexp(m, -24) : std::ldexp(1024 + m, e - 25));
        CAPTURE(i);
        if (e < 31) REQUIRE((double{half[i]} == expected && std::signbit(half[i]) == (sign < 0)));
        if (e == 31) REQUIRE((m ? std::isnan(half[i]) : half[i] == sign * INFINITY));
        uint32_t bits;
        std::memcpy(&bits, &brain[i], sizeof bits);
        REQUIRE(bits == static_cast<uint32_t>(i) << 16);
    }
}

TEST_CASE("a float becomes the nearest half, ties the even one, in a worker too", "[backbones]") {
    const auto half = [](float x) {
        uint16_t h = 0;
        Workers(1).run(1, [&](int, int) { h = float_to_half(x); });
        return h;
    };
    for (int sign : {0, 0x8000})
        for (int i = 0; i < 0x7c00; ++i) {
            const auto h = static_cast<uint16_t>(sign | i);
            const float x = half_to_float(h),
                        next = i == 0x7bff ? std::copysign(65536.f, x) : half_to_float(static_cast<uint16_t>(h + 1)),
                        between = x + (next - x) / 2;
            CAPTURE(h);
            REQUIRE(float_to_half(x) == h);
            REQUIRE(float_to_half(between) == h + i % 2);
            REQUIRE(float_to_half(std::nextafter(between, x)) == h);
            REQUIRE(float_to_half(std::nextafter(between, next)) == h + 1);
        }
    CHECK(half(0x1p-24f) == 1);
    CHECK(half(0x1p-25f) == 0);
    CHECK(half(-0x1.8p-24f) == 0x8002);
    CHECK(half(INFINITY) == 0x7c00);
    CHECK(half(-1e9f) == 0xfc00);
    CHECK(std::isnan(half_to_float(half(NAN))));
}

// FCI_BACKBONE: a folder. If it has an expected.safetensors the numbers are compared, else time and memory are
// measured.
//   FCI_BACKBONE=FOLDER [FCI_BACKBONE_N=4 FCI_BACKBONE_LENGTH=512] build/release/tests/run '[backbone]'
TEST_CASE("backbone: a folder of one's own", "[.][backbone]") {
    const char* given = std::getenv("FCI_BACKBONE");
    REQUIRE(given);
    const std::string folder = given;
    const auto number = [](const char* name, int otherwise) {
        const char* s = std::getenv(name);
        return s ? std::atoi(s) : otherwise;
    };
    Workers workers(Workers::available());
    const auto model = Backbone::open(folder);
    const Backbone::Shape& s = model->shape();
    fmt::print("{}: vocab {}, width {}, layers {}, hash {:016x}\n", s.family, s.vocab, s.width, s.layers,
               model->hash());
    if (fs::exists(folder + "/expected.safetensors")) {
        const Expected e(folder + "/expected.safetensors");
        for (int l = 0; l <= e.layers; ++l) {
            const double d = off(hidden(*model, e.tokens, e.length, l, workers), e.of_layer(l));
            fmt::print("layer {}: off by {:.2g} of its largest number\n", l, d);
            CHECK(d < 1e-5);
        }
        return;
    }
    double stored = 0, matrices = 0;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().extension() == ".safetensors")
            for (const StoredTensor& t : stored_tensors(OpenFile(entry.path()))) {
                stored += static_cast<double>(t.bytes);
                if (t.name.find("layers.") != std::string::npos && t.shape.size() == 2 && !t.name.ends_with("A_log"))
                    matrices += static_cast<double>(t.shape[0]) * t.shape[1];
            }
    const int n = number("FCI_BACKBONE_N", 4), length = number("FCI_BACKBONE_LENGTH", 512), d = s.width;
    std::vector<int32_t> tokens(n * length);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7919 % s.vocab);
    std::vector<float> x(tokens.size() * d);
    // Only the products, one per worker: rows of a sequence times a square matrix of the model's width.
    std::vector<float> a(int64_t{length} * d, 0.5f), w(int64_t{d} * d, 0.5f), c(int64_t{workers.count()} * length * d);
    const double flops = 2. * matrices * tokens.size(), one = 2. * length * d * d;
    const int rounds = static_cast<int>(flops / 10 / one / workers.count()) + 1;
    struct Time { // cpu: processor time of this program only
        double cpu, wall;
    };
    const auto timed = [](const auto& f) {
        const auto start = std::chrono::steady_clock::now();
        const std::clock_t cpu = std::clock();
        f();
        return Time{static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC,
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
    };
    const auto products = [&] {
        workers.run(workers.count(), [&](int i, int) {
            for (int r = 0; r < rounds; ++r)
                gemm(Transpose::no, Transpose::yes, length, d, d, 1.f, a.data(), d, w.data(), d, 0.f,
                     c.data() + int64_t{i} * length * d, d);
        });
    };
    const Time before = timed(products);
    const Time forward =
        timed([&] { model->hidden(tokens.data(), n, length, s.layers, x.data(), workers, Device::cpu); });
    const Time after = timed(products);
    rusage use;
    getrusage(RUSAGE_SELF, &use);
    const double sgemm = 2 * rounds * workers.count() * one / (before.cpu + after.cpu), rate = flops / forward.cpu;
    fmt::print("{} x {} tokens: {:.2f} s, of {} workers {:.2f}; weights as stored {:.0f} MB, peak memory {:.0f} MB\n"
               "{:.1f} GFLOP/s a second of a worker (products of weights alone), sgemm {:.1f}: {:.0f}%\n",
               n, length, forward.wall, workers.count(), forward.cpu, stored / 1e6, use.ru_maxrss * 1024e-6,
               rate * 1e-9, sgemm * 1e-9, 100 * rate / sgemm);
}
