#include "train/run_log.h"

#include <algorithm>

#include "core/files.h"
#include "core/json.h"
#include "core/json_read.h"

namespace fci {

std::string step_text(const Step& s, double ms) {
    Json line = Json::object();
    line.add("type", "step").add("step", s.number).add("epoch", s.epoch + 1).add("loss", s.loss);
    line.add("answer_loss", s.answer_loss).add("routing_loss", s.routing_loss).add("grad_norm", s.grad_norm);
    line.add("learning_rate", s.learning_rate).add("ms", Json::number("{:.3f}", ms));
    return line.text();
}

Scalars scalars_of(const Step& s) {
    return {{"train/loss", s.loss},
            {"train/answer_loss", s.answer_loss},
            {"train/routing_loss", s.routing_loss},
            {"train/grad_norm", s.grad_norm},
            {"train/learning_rate", s.learning_rate}};
}

Scalars scalars_of(const std::string& test, const Counts& c, const Applicable& has) {
    Scalars all;
    if (has.routes) all = {{test + "/routing_at_k", c.percent(c.at_k)}, {test + "/routing_at_1", c.percent(c.at_1)}};
    if (has.answers) all.emplace_back(test + "/accuracy", c.percent(c.correct));
    return all;
}

RunSoFar read_run_log(const std::string& path) {
    RunSoFar so_far;
    each_json_line(read_file(path), [&](simdjson::error_code error, simdjson::dom::element line) {
        std::string_view type;
        double loss = 0, ms = 0, seconds = 0;
        if (error || line["type"].get(type)) return; // whoever measures the run by its log refuses it
        if (type == "step" && !line["loss"].get(loss) && !line["ms"].get(ms)) {
            so_far.seconds += ms / 1e3, so_far.epoch_loss += loss, ++so_far.epoch_steps;
        } else if (type == "epoch") { // an older log's seconds began anew with each process
            so_far.epoch_loss = 0, so_far.epoch_steps = 0, ++so_far.epochs;
            if (!line["seconds"].get(seconds)) so_far.seconds = std::max(so_far.seconds, seconds);
        }
    });
    return so_far;
}

} // namespace fci
