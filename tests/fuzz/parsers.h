// Every parser of text or bytes that come from outside, as the fuzz tests see it: `make fuzz` gives each what libFuzzer
// thinks of (tests/fuzz/libfuzzer), `make test` its seeds, what was ever found, and random damage (fuzz_damage.cpp).
#pragma once
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.h"

namespace fci {

struct Parser {
    const char* name;
    Exit refusal;                    // what it refuses its input with
    std::vector<std::string> seeds;  // inputs that it takes
    std::vector<std::string> pieces; // of the format, and numbers at the edges of its types: what damage inserts
    // Reads, or throws an Error; what it returns checks that what was read hangs together, and that, written and read
    // again, it is the same. None: it was passed over.
    std::function<void()> (*read)(const std::string& bytes);

    // False: it was refused, or passed over. Throws what is a finding.
    bool takes(const std::string& bytes) const {
        std::function<void()> holds;
        try {
            holds = read(bytes);
        } catch (const Error& e) {
            if (e.exit != refusal) throw;
        }
        if (holds) holds();
        return bool(holds);
    }
};

const std::vector<Parser>& parsers();
const Parser& parser_named(const std::string& name);

// The parts of parsers().
std::vector<Parser> data_parsers();
std::vector<Parser> study_parsers();
std::vector<Parser> pretrained_parsers();

inline void hold(bool what, const char* words) {
    if (!what) throw std::logic_error(words);
}

// A folder in memory, where there is one, that goes when the program ends.
const std::string& fuzz_folder();
void put_file(const std::string& path, const std::string& bytes);

// Those of JSON, and more.
std::vector<std::string> json_pieces(const std::vector<std::string>& more);

} // namespace fci
