// The parsers of pretrained models' folders: config.json, and the list of shards.
#include <algorithm>
#include <cmath>
#include <memory>

#include "core/json.h"
#include "pretrained/families.h"
#include "tests/fuzz/parsers.h"

namespace fci {
namespace {

using Holds = std::function<void()>;

size_t longest_number(const std::string& text) { // in digits
    size_t digits = 0, most = 0;
    for (const char c : text) most = std::max(most, digits = c >= '0' && c <= '9' ? digits + 1 : 0);
    return most;
}

// A model of random weights needs no files; a small one is run, too.
Holds read_config(const std::string& text) {
    const auto open = [=] {
        const PretrainedConfig config("fuzzed", text);
        const std::string type = config.word("model_type", "");
        for (const auto& family : families)
            if (type == family.model_type) return family.open(config, {fuzz_folder() + "/no-weights", 1});
        config.refuse("model_type is unknown");
    };
    const std::shared_ptr<Backbone> model = open();
    return [=] {
        const Backbone::Shape s = model->shape();
        hold(s.vocab > 0 && s.width > 0 && s.layers > 0 && s.longest >= 0, "a size that is none");
        hold(model->at_once(1, Device::cpu) >= 1, "no sequence at once");
        hold(open()->hash() == model->hash(), "another hash the second time");
        if (s.width > 64 || s.layers > 4 || longest_number(text) > 3) return;
        Workers workers(1);
        const int32_t tokens[] = {0, s.vocab - 1};
        const int length = s.longest == 1 ? 1 : 2;
        std::vector<float> x(length * s.width);
        try {
            model->hidden(tokens, 1, length, s.layers, x.data(), workers, Device::cpu);
        } catch (const Error& e) {
            if (e.exit != Exit::non_finite && e.exit != Exit::usage) throw;
            return;
        }
        for (const float v : x) hold(std::isfinite(v), "a hidden state that is not finite");
    };
}

std::vector<std::string> config_seeds() {
    return {
        R"({"model_type":"gpt_neox","vocab_size":7,"hidden_size":8,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":9,"max_position_embeddings":5,"rotary_pct":0.5,"rotary_emb_base":100,"use_parallel_residual":false,"hidden_act":"gelu","layer_norm_eps":1e-5,"rope_scaling":null})",
        R"({"model_type":"llama","vocab_size":5,"hidden_size":6,"num_hidden_layers":1,"num_attention_heads":3,"num_key_value_heads":1,"head_dim":4,"intermediate_size":7,"max_position_embeddings":9,"rms_norm_eps":1e-06,"rope_parameters":{"rope_theta":500.0,"rope_type":"default"},"tie_word_embeddings":true,"attention_bias":false})",
        R"({"model_type":"mamba","vocab_size":3,"hidden_size":4,"num_hidden_layers":1,"intermediate_size":6,"state_size":2,"time_step_rank":1,"conv_kernel":3,"use_bias":true,"use_conv_bias":false,"layer_norm_epsilon":1e-5})",
    };
}

Holds read_index(const std::string& text) {
    const auto shards = std::make_shared<std::map<std::string, std::string>>(read_shard_index("fuzzed", text));
    return [=] {
        Json files = Json::object();
        for (const auto& [tensor, file] : *shards) {
            hold(file.find('/') == std::string::npos && file.ends_with(".safetensors"), "a file of another folder");
            files.add(tensor, file);
        }
        const std::string again = Json::object().add("weight_map", files).text();
        hold(read_shard_index("again", again) == *shards, "other shards when written");
    };
}

std::vector<std::string> index_seeds() {
    return {
        R"({"metadata":{"total_size":8},"weight_map":{"a.weight":"model-1-of-2.safetensors","b\u00e9":"model-2-of-2.safetensors"}})",
        R"({"weight_map":{"a":"x.safetensors"}})",
    };
}

} // namespace

std::vector<Parser> pretrained_parsers() {
    return {{"backbone-config", Exit::bad_data, config_seeds(),
             json_pieces({"\"llama\"", "\"mamba\"", "\"gpt_neox\"", "\"hidden_size\":4", "\"rope_scaling\":{}",
                          "\"num_hidden_layers\":", "1048576", "10000", "2147483647", "0.5", "false",
                          "\"rope_parameters\":{}"}),
             read_config},
            {"shard-index", Exit::bad_data, index_seeds(),
             json_pieces({"../", "/", "\\/", ".safetensors", "\"weight_map\":{}", "\"a\":\"b.safetensors\""}),
             read_index}};
}

} // namespace fci
