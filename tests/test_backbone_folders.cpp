// Invalid folders of pretrained models: each is refused, and the message names the error.
#include <fstream>

#include "tests/backbones.h"

using namespace fci;
using namespace fci::test;
namespace fs = std::filesystem;

TEST_CASE("backbones: what the config says and cannot be computed is refused", "[backbones]") {
    const auto with = [](const char* model, const char* from, const char* to, const char* part) {
        INFO(from << " -> " << to);
        const Folder folder(model);
        folder.replace("config.json", from, to);
        folder.refused(part);
    };
    with("llama_tied", "\"rope_scaling\": null", R"("rope_scaling": {"factor": 2.0})", "rope_scaling is");
    with("llama_tied", "\"rope_scaling\": null", R"("rope_parameters": {"rope_type": "yarn"})", "rope_parameters has");
    with("llama_tied", "\"attention_bias\": false", "\"attention_bias\": true", "attention_bias is true");
    with("llama_tied", "\"mlp_bias\": false", "\"mlp_bias\": true", "mlp_bias is true");
    with("llama_tied", "\"silu\"", "\"gelu\"", "hidden_act is \"gelu\"");
    with("llama_tied", "\"model_type\": \"llama\"", "\"model_type\": \"mistral\"",
         "gpt_neox, llama, mamba are supported");
    with("llama_tied", "\"model_type\": \"llama\"", "\"d_model\": 20", "has no model_type");
    with("llama_tied", "\"hidden_size\": 20", "\"hidden_size\": 2000000000", "hidden_size is 2000000000, expected");
    with("llama_tied", "\"hidden_size\": 20", "\"hidden_size\": 22", "config.json makes it");
    with("llama_tied", "\"hidden_size\": 20", "\"hidden_size\": \"20\"", "hidden_size is \"20\"");
    with("llama_tied", "\"hidden_size\": 20,", "", "has no hidden_size");
    with("llama_tied", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "num_key_value_heads is 3");
    with("llama_tied", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2", "has no tensor \"model.layers.1.");
    with("llama_tied", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
         "has no tensor \"lm_head.weight\"");
    with("llama_tied", "\"vocab_size\"", "\"vocab_size\": 23, \"vocab_size\"", "has \"vocab_size\" twice");
    with("llama_tied", "{", "", "is not");
    with("gpt_neox", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "tensor \"gpt_neox.layers.1.");
    with("gpt_neox", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"gelu_new\"", "approximations");
    with("gpt_neox", "\"rotary_pct\": 0.25", "\"rotary_pct\": 0.2", "must be an even number");
    with("gpt_neox", "\"rotary_pct\": 0.25", "\"rotary_pct\": 1.25", "rotary_pct is");
    with("gpt_neox", "\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "is not a multiple");
    with("mamba", "\"use_bias\": true", "\"use_bias\": false", "in_proj.bias");
    with("mamba", "\"use_bias\": true", "\"use_bias\": 1", "expected true or false");
}

TEST_CASE("backbones: tensors that are missing, unknown or of another shape are named", "[backbones]") {
    const auto with = [](const std::function<void(std::vector<StoredTensor>&)>& by, const char* part) {
        const Folder folder("llama_tied");
        folder.change(by);
        folder.refused(part);
    };
    const float zeros[64] = {};
    const auto named = [](auto& tensors, const std::string& name) {
        return std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& t) { return t.name == name; });
    };
    const std::string norm = "model.layers.0.input_layernorm.weight";
    with([&](auto& t) { t.erase(named(t, norm)); }, "has no tensor \"model.layers.0.input_layernorm.weight\"");
    with(
        [&](auto& t) {
            t.push_back({"model.layers.0.input_layernorm.bias", "F32", {20}, zeros, 80});
        },
        "tensor \"model.layers.0.input_layernorm.bias\" is unknown");
    with([&](auto& t) { named(t, norm)->shape = {4, 5}; }, "is (4,5), but config.json makes it (20)");
    with([&](auto& t) { named(t, norm)->dtype = "I32"; }, "is I32, but only F32, F16 and BF16 can be read");
    with([&](auto& t) { t.push_back({"lm_head.weight", "F32", {2, 3}, zeros, 24}); }, "is (2,3)");

    const Folder folder("llama_tied"); // buffers of older versions are not weights
    folder.change([&](auto& t) {
        t.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {5}, zeros, 20});
    });
    CHECK(Backbone::open(folder.path)->shape().layers == 1);
    const Folder neox("gpt_neox");
    neox.change([&](auto& t) {
        t.push_back({"gpt_neox.layers.0.attention.masked_bias", "F32", {}, zeros, 4});
        t.push_back({"gpt_neox.layers.0.attention.bias", "U8", {1, 1, 8, 8}, zeros, 64});
    });
    CHECK(Backbone::open(neox.path)->shape().layers == 2);
}

TEST_CASE("backbones: damaged files and lists of shards are refused", "[backbones]") {
    const std::string index = "model.safetensors.index.json", second = "model-00002-of-00003.safetensors";
    const std::string norm = "\"model.norm.weight\": ";
    {
        const Folder f("llama_sharded_bf16");
        fs::resize_file(f / second, fs::file_size(f / second) - 2);
        f.refused(second);
        fs::remove(f / second);
        f.refused(second);
    }
    {
        const Folder f("llama_sharded_bf16");
        f.replace(index, norm + "\"model-00003", norm + "\"../model-00003");
        f.refused("which is not a .safetensors file in the same folder");
    }
    {
        const Folder f("llama_sharded_bf16");
        f.replace(index, norm, norm + "\"model-00003-of-00003.safetensors\", " + norm);
        f.refused("has tensor \"model.norm.weight\" twice");
    }
    {
        const Folder f("llama_sharded_bf16");
        f.replace(index, norm + "\"model-00003", norm + "\"model-00001");
        f.refused("should be in \"model-00001-of-00003.safetensors\", but is not");
    }
    {
        const Folder f("llama_sharded_bf16"); // in two shards
        f.change([](auto& t) { t.push_back({"model.norm.weight", "BF16", {1}, "ab", 2}); }, second);
        f.refused("has tensor \"model.norm.weight\", which is in");
    }
    {
        const Folder f("llama_sharded_bf16"); // in a shard, but not in the list
        f.change([](auto& t) { t.push_back({"more", "BF16", {1}, "ab", 2}); }, second);
        f.refused("does not name");
    }
    {
        const Folder f("llama_sharded_bf16");
        write_file_atomically(f / index, R"({"weight_map": {}})");
        f.refused("names no tensor");
        write_file_atomically(f / index, R"({"weight_map": [1]})");
        f.refused("has no object weight_map");
        fs::remove(f / index);
        f.refused("has neither model.safetensors nor");
        std::ofstream(f / "pytorch_model.bin") << "x";
        f.refused("can contain programs");
        fs::remove(f / "config.json");
        f.refused("config.json");
    }
    {
        const Folder f("llama_tied"); // 10 GB, whose first 8 bytes claim that everything is header
        std::ofstream(f / "model.safetensors", std::ios::binary).write("\xff\xff\xff\x7f\2\0\0\0", 8);
        fs::resize_file(f / "model.safetensors", uint64_t{10} << 30);
        f.refused("not a safetensors file");
        std::ofstream(f / "model.safetensors", std::ios::binary).write("\0\xe1\xf5\5\0\0\0\0", 8); // 100 MB: the limit
        fs::resize_file(f / "model.safetensors", uint64_t{10} << 30);
        f.refused("does not begin with '{'");
        fs::resize_file(f / "config.json", uint64_t{10} << 30);
        f.refused("more than 16777216 bytes");
    }
}

TEST_CASE("backbones: a file that is cut while it is used, weights that are not finite, and sequences that do not fit",
          "[backbones]") {
    Workers workers(2);
    const Folder f("gpt_neox");
    const Expected e(golden + "gpt_neox/expected.safetensors");
    const auto model = Backbone::open(f.path);
    const auto error = [&](const Backbone& of, std::vector<int32_t> tokens, int length) {
        return error_of([&] { hidden(of, tokens, length, e.layers, workers); });
    };
    expect_error(error(*model, std::vector<int32_t>(65), 65), Exit::usage,
                 "sequences of 65 tokens are longer than the model's 64");
    expect_error(error(*model, {0, 29}, 2), Exit::internal, "token 29 at 1 of sequence 0");
    CHECK(error(*model, e.tokens, e.length).empty());
    fs::resize_file(f / "model.safetensors", fs::file_size(f / "model.safetensors") / 2);
    expect_error(error(*model, e.tokens, e.length), Exit::bad_data, "it was cut while it was read");

    const Folder g("llama_tied");
    const float bad[20] = {NAN};
    g.change([&](auto& tensors) {
        for (StoredTensor& t : tensors)
            if (t.name == "model.layers.0.input_layernorm.weight") t.data = bad;
    });
    for (const Device device : {Device::cpu, Device::cuda})
        expect_error(error_of([&] {
                         hidden(*Backbone::open(g.path), {1, 2}, 2, 1, workers, device);
                     }),
                     Exit::non_finite, "layer 1 of");
}
