// Every parser of external text or bytes, for the fuzz tests. `make fuzz` gives each the inputs of libFuzzer
// (tests/fuzz/libfuzzer); `make test` gives it its seeds, past findings, and random damage (fuzz_damage.cpp).
#pragma once
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.h"

namespace fci {

struct Parser {
    const char* name;
    Exit refusal;                    // exit code for refused input
    std::vector<std::string> seeds;  // inputs that it accepts
    std::vector<std::string> pieces; // parts of the format, numbers at the edges of its types; damage inserts them
    // Reads the input or throws an Error. Returns a function that checks that the result is consistent, and that
    // writing and reading it again gives the same. Empty: the input was skipped.
    std::function<void()> (*read)(const std::string& bytes);

    // False: the input was refused or skipped. Throws on a finding.
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

// A folder, in memory if possible, that is removed when the program ends.
const std::string& fuzz_folder();
void put_file(const std::string& path, const std::string& bytes);

// The pieces of JSON, and more.
std::vector<std::string> json_pieces(const std::vector<std::string>& more);

} // namespace fci
