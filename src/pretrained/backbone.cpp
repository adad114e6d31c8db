#include "pretrained/backbone.h"

#include "core/check.h"
#include "core/files.h"
#include "core/json.h"
#include "pretrained/families.h"

namespace fci {

std::unique_ptr<Backbone> Backbone::open(const std::string& folder, const uint64_t* random) {
    constexpr size_t most = size_t{16} << 20;
    const std::string path = folder + "/config.json";
    std::string text = read_part(path, 0, most + 1);
    if (text.size() > most) fail(Exit::bad_data, "{}: has more than {} bytes: not a model's config", path, most);
    const PretrainedConfig config(path, std::move(text));
    const std::string type = config.word("model_type", "");
    std::string known;
    for (const auto& family : families) {
        if (type == family.model_type)
            return family.open(config, {folder, random ? std::optional(*random) : std::nullopt});
        known += fmt::format("{}{}", known.empty() ? "" : ", ", family.model_type);
    }
    if (type.empty())
        config.refuse("has no model_type; expected a model in the format of transformers (for Mamba: one named -hf); "
                      "{} are supported",
                      known);
    config.refuse("model_type is {}; {} are supported", json_quote(type.substr(0, 60)), known);
}

} // namespace fci
