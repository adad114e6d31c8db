// `fci eval`, `show` and `generate` of --task hotpotqa.
#pragma once
#include <string>

#include "core/rng.h"
#include "study/hotpot_eval.h"
#include "tasks/show.h"
#include "train/trainer.h"

namespace fci {

struct HotpotCommand {
    HotpotOptions options;
    std::string data, per_example; // files; per_example: one line per example, tab-separated
    int threads = 0, count = 1;    // threads 0: one per processor
    bool json = false, quiet = false;
};

void eval_hotpot(const HotpotCommand&);
void show_hotpot(const HotpotCommand&, const ShowStyle&); // without data: generated examples
// Shows the first test examples of a trainer on text, and the sentences its router chose. `data`: their file, if it is
// not the run's.
void show_text(Trainer&, const std::string& data, int count, const ShowStyle&);
void generate_hotpot(const std::string& out, int count, uint64_t seed, Stream, int threads);

} // namespace fci
