// The program of `make fuzz` (tools/fuzz.sh), linked with clang's libFuzzer. FCI_FUZZ names the parser.
//   fuzz --list              the parsers
//   fuzz --seeds FOLDER      writes the parser's seeds there, and its pieces as FOLDER.dict
//   fuzz [libFuzzer's own]
#include <cstdio>
#include <cstdlib>

#include "core/files.h"
#include "tests/fuzz/parsers.h"

namespace {

const fci::Parser* parser;

void write_seeds(const std::string& folder) {
    int n = 0;
    for (const std::string& seed : parser->seeds)
        fci::write_file_atomically(fmt::format("{}/seed-{}", folder, ++n), seed);
    std::string pieces;
    for (const std::string& piece : parser->pieces) {
        if (piece.empty()) continue;
        pieces += '"';
        for (const char c : piece) pieces += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        pieces += "\"\n";
    }
    fci::write_file_atomically(folder + ".dict", pieces);
}

} // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    const std::string word = *argc > 1 ? (*argv)[1] : "";
    const char* name = std::getenv("FCI_FUZZ");
    try {
        if (word == "--list") {
            for (const fci::Parser& p : fci::parsers()) std::puts(p.name);
            std::exit(0);
        }
        parser = &fci::parser_named(name ? name : "");
        if (word == "--seeds" && *argc > 2) write_seeds((*argv)[2]), std::exit(0);
    } catch (const fci::Error& e) {
        std::fprintf(stderr, "fuzz: %s\n", e.what());
        std::exit(2);
    }
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    parser->takes(std::string(reinterpret_cast<const char*>(bytes), size));
    return 0;
}
